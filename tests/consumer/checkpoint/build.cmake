# A checkpoint whose configuration is a type and whose files are in the program, by the installed library: in place,
# without the folder, built anew when the checkpoint changes, and refused where it is none.
include("${CMAKE_CURRENT_LIST_DIR}/../run.cmake")
fresh_folder("${BINARY_DIR}")
set(fixtures "${TENON}/tests/reference/fixtures")
set(checkpoint "${BINARY_DIR}/a checkpoint")
file(COPY "${fixtures}/llama_one_group_tied/" "${fixtures}/gguf_llama/model.gguf" DESTINATION "${checkpoint}")
file(WRITE "${checkpoint}/chat_template.jinja" "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
file(WRITE "${checkpoint}/generation_config.json" "{\"do_sample\": true, \"temperature\": 0.5, \"eos_token_id\": [2, 7]}")
set(all "small: 11 of 11 parameters in place\npacked: 6 of 20 parameters in place\nencoder: 55 of 55 parameters in place\n"
        "<user>hello, at temperature 0.5, until one of 2 tokens\n")
string(CONCAT all ${all})

# expect(<result> <words> <command>...): the command returns the result and says the words.
function(expect expected words)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text ERROR_VARIABLE messages RESULT_VARIABLE result)
    string(FIND "${text}${messages}" "${words}" position)
    if(NOT result MATCHES "^${expected}$" OR position EQUAL -1)
        message(FATAL_ERROR "${ARGN}: expected ${expected} and \"${words}\", got ${result}:\n${text}${messages}")
    endif()
endfunction()

run("${CMAKE_COMMAND}" -S "${TENON}" -B "${BINARY_DIR}/tenon" "-DCMAKE_CXX_COMPILER=${COMPILER}" -DTENON_BUILD_TESTS=OFF
    -DTENON_BUILD_EXAMPLES=OFF -DTENON_BUILD_BENCH=OFF)
run("${CMAKE_COMMAND}" --install "${BINARY_DIR}/tenon" --prefix "${BINARY_DIR}/prefix")
run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${BINARY_DIR}/build" "-DCMAKE_CXX_COMPILER=${COMPILER}"
    "-DCMAKE_PREFIX_PATH=${BINARY_DIR}/prefix" "-DCHECKPOINT=${checkpoint}" "-DGGUF=${checkpoint}/model.gguf"
    "-DENCODER=${fixtures}/bert_pooler")
set(build "${CMAKE_COMMAND}" --build "${BINARY_DIR}/build" --target)
set(program "${BINARY_DIR}/build/program")
run(${build} program)
expect(0 "${all}" "${program}")
# Another checkpoint is refused with the names of its tensors, and both shapes.
expect(1 "model.embed_tokens.weight: expected shape [61, 32], got [67, 36]" "${program}"
       "${fixtures}/llama_wide_heads")
expect(1 "features" "${program}" "${fixtures}/gpt2_odd_heads")

# Other parameters are copied, and nothing is compiled for them; another configuration is another header.
file(TIMESTAMP "${BINARY_DIR}/build/CMakeFiles/program.dir/main.cpp.o" before)
execute_process(COMMAND "${CMAKE_COMMAND}" -E sleep 1.1)
file(TOUCH "${checkpoint}/model.safetensors")
expect(0 "Files of ${checkpoint}" ${build} program)
file(TIMESTAMP "${BINARY_DIR}/build/CMakeFiles/program.dir/main.cpp.o" after)
if(NOT before STREQUAL after)
    message(FATAL_ERROR "main.cpp was compiled again for parameters that it does not know")
endif()
file(READ "${checkpoint}/config.json" configuration)
string(REPLACE "\"max_position_embeddings\": 32" "\"max_position_embeddings\": 48" changed "${configuration}")
file(WRITE "${checkpoint}/config.json" "${changed}")
run(${build} program_small_checkpoint)
file(READ "${BINARY_DIR}/build/tenon_checkpoint/program/small/small.hpp" header)
if(NOT header MATCHES "context 48,")
    message(FATAL_ERROR "expected a header for another configuration, got:\n${header}")
endif()
string(REPLACE "\"llama\"" "\"alpaca\"" changed "${configuration}")
file(WRITE "${checkpoint}/config.json" "${changed}")
expect("[1-9]+" "config.json: model_type: expected one of cs336, " ${build} program_small_checkpoint)

file(REMOVE_RECURSE "${checkpoint}")
expect(0 "${all}" "${program}")
