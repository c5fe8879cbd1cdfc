# An application of two files for a GPU: main.cpp is compiled by the host's compiler, model.cu by nvcc; cudart and
# cuBLASLt are all that it is linked with.
include("${CMAKE_CURRENT_LIST_DIR}/../run.cmake")
fresh_folder("${BINARY_DIR}")
run("${COMPILER}" -std=c++20 "-I${TENON}/include" -isystem "${CUDA}/include" -c "${CMAKE_CURRENT_LIST_DIR}/main.cpp"
    -o "${BINARY_DIR}/main.o")
run("${NVCC}" -std=c++20 -arch=sm_90a -O1 "-I${TENON}/include" -c "${CMAKE_CURRENT_LIST_DIR}/model.cu"
    -o "${BINARY_DIR}/model.o")
run("${COMPILER}" "${BINARY_DIR}/main.o" "${BINARY_DIR}/model.o" "-L${CUDA}/lib" "-L${CUDA}/lib64" -lcudart -lcublasLt
    "-Wl,-rpath,${CUDA}/lib64" -o "${BINARY_DIR}/program")
run("${BINARY_DIR}/program")
