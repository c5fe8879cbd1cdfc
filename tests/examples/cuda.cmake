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

set(generate "${GENERATE}" "The cat" --tokens 5 --temperature 0 --model "${model}")
run(first ${generate})
run(second ${generate} --seed 8)
if(NOT first STREQUAL second OR NOT first MATCHES "^The cat.+\n$")
    message(FATAL_ERROR "without drawing, generate_cuda wrote \"${first}\", then \"${second}\"")
endif()

# A question has the same answer alone as at the beginning of a conversation.
file(WRITE "${FOLDER}/template.jinja" "{% for m in messages %}{{ m.content }}\n{% endfor %}")
file(WRITE "${FOLDER}/questions.txt" "The cat\n\nThe dog\n")
set(chat "${CHAT}" "${model}" --template "${FOLDER}/template.jinja" --tokens 5 --temperature 0)
run(first ${chat} --prompt "The cat")
run(second sh -c "exec \"$@\" < \"$0\"" "${FOLDER}/questions.txt" ${chat})
string(FIND "${second}" "${first}" position)
if(NOT position EQUAL 0 OR second STREQUAL first)
    message(FATAL_ERROR "chat_cuda answered \"${first}\", and in a conversation \"${second}\"")
endif()
