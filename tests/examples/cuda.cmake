# The programs for a GPU: one trains in FOLDER, the others go on from its model.

if(NOT EXISTS /dev/nvidiactl)
    message("skipped: there is no GPU")
    return()
endif()
include("${CMAKE_CURRENT_LIST_DIR}/../run_program.cmake")
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")

write_text("${FOLDER}/text.txt")
set(model "${FOLDER}/model")
run(output "${TRAIN_LM}" "${FOLDER}/text.txt" --steps 2 --out "${model}")
if(NOT output MATCHES "trained: 2 steps ")
    message(FATAL_ERROR "train_lm_cuda wrote:\n${output}")
endif()

include("${CMAKE_CURRENT_LIST_DIR}/talk.cmake")
