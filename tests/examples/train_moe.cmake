# A mixture of experts beside a dense model, for a few steps: a table, curves and metrics in FOLDER.

include("${CMAKE_CURRENT_LIST_DIR}/../run_program.cmake")

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
write_text("${FOLDER}/text.txt")

set(program "${TRAIN_MOE}" "${FOLDER}/text.txt" --out "${FOLDER}/curves" --vocabulary 300 --context 16 --width 16
            --depth 2 --heads 2 --hidden 48 --batch 2 --tokens 480 --capacity 1)
run(output ${program})

set(number "[0-9.]+")
foreach(row "dense \\| [0-9]+ \\| ${number} \\| [0-9]+ \\| ${number} \\| ${number} \\| \\| \\| \\|"
            "mixture \\| [0-9]+ \\| ${number} \\| [0-9]+ \\| ${number} \\| ${number} \\| ${number} \\| ${number} \\| ${number} % \\|")
    if(NOT output MATCHES "\n\\| ${row}\n")
        message(SEND_ERROR "expected a row \"${row}\" in:\n${output}")
    endif()
endforeach()
# Both compute as much for a token.
string(REGEX MATCHALL "\n\\| [a-z]+ \\| [0-9]+ \\| ${number} \\|" costs "${output}")
list(TRANSFORM costs REPLACE ".* (${number}) \\|$" "\\1")
list(REMOVE_DUPLICATES costs)
list(LENGTH costs count)
if(NOT count EQUAL 1)
    message(SEND_ERROR "expected models of equal cost, got ${costs}")
endif()

file(READ "${FOLDER}/curves/loss.svg" svg)
foreach(name dense mixture)
    if(NOT svg MATCHES ">${name}</text>")
        message(SEND_ERROR "loss.svg: expected a curve \"${name}\"")
    endif()
    file(STRINGS "${FOLDER}/curves/${name}.jsonl" lines)
    list(LENGTH lines count)
    if(NOT count EQUAL 15)
        message(SEND_ERROR "${name}.jsonl: expected a line for each of 15 steps, got ${count}")
    endif()
endforeach()
list(GET lines 14 last)
string(REGEX REPLACE ".*\"dropped_share\": (${number}).*" "\\1" dropped "${last}")
if(NOT last MATCHES "\"greatest_expert_load\": [1-8]" OR NOT dropped GREATER 0)
    message(SEND_ERROR "expected loads of experts, of which some drop assignments, got ${last}")
endif()

# The same seed gives the same metrics.
file(RENAME "${FOLDER}/curves/mixture.jsonl" "${FOLDER}/first.jsonl")
run(again ${program})
file(READ "${FOLDER}/first.jsonl" first)
file(READ "${FOLDER}/curves/mixture.jsonl" second)
if(NOT first STREQUAL second)
    message(SEND_ERROR "expected the same of the same seed, got\n${first}${second}")
endif()

execute_process(COMMAND ${program} --experts-per-token 5 OUTPUT_QUIET ERROR_VARIABLE messages RESULT_VARIABLE result)
if(NOT result STREQUAL "2" OR NOT messages MATCHES "multiple of --experts-per-token")
    message(SEND_ERROR "expected a hidden width that experts share, got ${result}:\n${messages}")
endif()
