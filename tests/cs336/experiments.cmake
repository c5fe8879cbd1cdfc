# Runs the experiments of the example, each for a few steps, and looks for their tables and curves in FOLDER.

include("${CMAKE_CURRENT_LIST_DIR}/../run_program.cmake")

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
write_text("${FOLDER}/text.txt")

set(experiments "${CS336}" "${FOLDER}/text.txt" --out "${FOLDER}/curves" --vocabulary 300 --context 16 --width 16
                --depth 1 --heads 2 --batch 2)

# refuse(<words> <argument>...): a usage error that has the words.
function(refuse words)
    execute_process(COMMAND ${experiments} ${ARGN} OUTPUT_QUIET ERROR_VARIABLE messages RESULT_VARIABLE result)
    string(FIND "${messages}" "${words}" position)
    if(NOT result STREQUAL "2" OR position EQUAL -1)
        message(SEND_ERROR "${ARGN}: expected exit code 2 and \"${words}\", got ${result}:\n${messages}")
    endif()
endfunction()

# A rate that is far too high, too: it must not end the program.
run(output ${experiments} --tokens 320 --rates 1e-3,1e-2,1e6 --batches 2,4)

# Of each experiment as many rows as runs, each with a loss.
set(number "[0-9.]+")
foreach(row "rate 0.001 \\| 0.001 \\| 2 \\| [0-9]+ \\| 10 \\| ${number} \\| ${number} \\| ${number} \\|"
            "rate 0.01 \\| 0.01 \\| 2 \\|" "rate 1e\\+06 \\|" "batch 2 \\|" "batch 4 \\| ${number} \\| 4 \\| [0-9]+ \\| 5 \\|"
            "pre-norm, RoPE, SwiGLU \\|" "no norm \\|" "post-norm \\|" "no positions \\|" "SiLU without gate \\|"
            "no norm, rate / 3 \\|")
    if(NOT output MATCHES "\n\\| ${row}")
        message(SEND_ERROR "expected a row \"${row}\" in:\n${output}")
    endif()
endforeach()
string(REGEX MATCHALL "\n\\| [^|]*[a-zA-Z][^|]*\\| [0-9]" rows "${output}")
list(LENGTH rows count)
if(NOT count EQUAL 11)
    message(SEND_ERROR "expected 11 rows, got ${count}:\n${output}")
endif()

# A curve for each run, by name.
foreach(expected "learning_rates;rate 0.001;rate 0.01" "batch_sizes;batch 2;batch 4"
                 "ablations;pre-norm, RoPE, SwiGLU;no norm;post-norm;no positions;SiLU without gate;no norm, rate / 3")
    list(POP_FRONT expected file)
    file(READ "${FOLDER}/curves/${file}.svg" svg)
    foreach(name IN LISTS expected)
        if(NOT svg MATCHES ">${name}</text>")
            message(SEND_ERROR "${file}.svg: expected a curve \"${name}\"")
        endif()
    endforeach()
    string(REGEX MATCHALL "<polyline" lines "${svg}")
    list(LENGTH lines count)
    list(LENGTH expected least)
    if(count LESS least)
        message(SEND_ERROR "${file}.svg: expected at least ${least} curves, got ${count}")
    endif()
endforeach()

# Gates cost what a wider layer does.
string(REGEX MATCH "RoPE, SwiGLU \\| ${number} \\| 2 \\| ([0-9]+) \\|" matched "${output}")
set(gated "${CMAKE_MATCH_1}")
string(REGEX MATCH "without gate \\| ${number} \\| 2 \\| ([0-9]+) \\|" matched "${output}")
math(EXPR difference "${gated} - ${CMAKE_MATCH_1}")
if(difference GREATER 32 OR difference LESS -32)
    message(SEND_ERROR "expected as many parameters without a gate, got ${CMAKE_MATCH_1} for ${gated}")
endif()

# The same seed gives the same losses; a time in place of tokens ends, too.
run(first ${experiments} --only rates --rates 1e-2 --tokens 320 --seed 5)
run(second ${experiments} --only rates --rates 1e-2 --tokens 320 --seed 5)
foreach(text first second)
    string(REGEX REPLACE "\\| ${number} (\\| ${number} \\| ${number} \\|\n)" "\\1" ${text} "${${text}}")
endforeach()
if(NOT first STREQUAL second)
    message(SEND_ERROR "expected the same of the same seed, got\n${first}${second}")
endif()
run(output ${experiments} --only batches --batches 2 --seconds 0.05)

refuse("--only" --only everything)
refuse("--rates" --rates 1e-3,fast)
refuse("--batches" --batches 1.5)
refuse("--tokens" --tokens 0)
