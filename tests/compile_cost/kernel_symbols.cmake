# Compares the kernels in the object files of one_width.cpp and two_widths.cpp. Without optimization, so that none hides
# by being inlined.
function(kernels_of program result)
    set(object "${BINARY_DIR}/${program}.o")
    execute_process(COMMAND "${COMPILER}" ${FLAGS} -O0 -c "${CMAKE_CURRENT_LIST_DIR}/${program}.cpp" -o "${object}"
                    COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND "${NM}" --defined-only --format=posix "${object}" OUTPUT_VARIABLE symbols
                    COMMAND_ERROR_IS_FATAL ANY)
    # Mangled: what is in tenon::Kernel<...>, tenon::kernel or tenon::tree, and the backward functions of nodes.
    string(REGEX MATCHALL "_ZN5tenon(6KernelI|6kernel|4tree|6detail[0-9]+[A-Za-z]+NodeI[^ ]*8backwardEv)[^ ]* [TtWwuV]" kernels
                 "${symbols}")
    list(SORT kernels)
    set(${result} "${kernels}" PARENT_SCOPE)
endfunction()

kernels_of(one_width one)
kernels_of(two_widths two)
list(LENGTH one count)
if(count LESS 50)
    message(FATAL_ERROR "only ${count} kernels were recognized")
endif()
set(added ${two})
list(REMOVE_ITEM added ${one})
if(added)
    list(JOIN added "\n" added)
    message(FATAL_ERROR "a second width added kernels:\n${added}")
endif()
message("${count} kernels, for one width as for two")
