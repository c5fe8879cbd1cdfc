# tenon_checkpoint(TARGET <target> MODEL <name> DIR <path> [EMBED])
#
# Gives a target the header <name>.hpp, which has a checkpoint's configuration as a type; <path> is a folder with
# config.json, or a GGUF file. In the namespace <name> are:
#
#     Configuration     the architecture's features, and every extent as a constant
#     Model             tenon::Transformer<Configuration>
#     load<M>(path())   the model with the checkpoint's parameters; M is Model unless it is given
#     path()            where the checkpoint is, for tenon::Tokenizer::load, tenon::ChatTemplate::load,
#                       tenon::read_generation_settings and all else that reads files
#     table             the configuration, a tenon::ConfigurationTable
#
# With EMBED the checkpoint's parameters, tokenizer, chat template and settings, of any size, become part of the target,
# and `path()` names them there; otherwise it is <path>. The header is written when the target is built, and again when
# the configuration changes; embedded files are copied again when they change. What is no supported checkpoint stops
# the build.

function(tenon_checkpoint)
    cmake_parse_arguments(PARSE_ARGV 0 argument "EMBED;OPTIONAL" "TARGET;MODEL;DIR" "")
    if(NOT argument_TARGET OR NOT argument_MODEL OR NOT argument_DIR OR argument_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "tenon_checkpoint expects TARGET <target> MODEL <name> DIR <path> [EMBED]")
    endif()
    if(NOT TARGET "${argument_TARGET}")
        message(FATAL_ERROR "tenon_checkpoint: expected a target, got ${argument_TARGET}")
    endif()
    if(NOT argument_MODEL MATCHES "^[A-Za-z_][A-Za-z_0-9]*$")
        message(FATAL_ERROR "tenon_checkpoint: expected a name that a namespace can have, got ${argument_MODEL}")
    endif()
    get_filename_component(checkpoint "${argument_DIR}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
    set(configuration "${checkpoint}")
    if(NOT checkpoint MATCHES "\\.gguf$")
        string(APPEND configuration "/config.json")
    endif()
    _tenon_checkpoint_tool()

    set(folder "${CMAKE_CURRENT_BINARY_DIR}/tenon_checkpoint/${argument_TARGET}/${argument_MODEL}")
    file(MAKE_DIRECTORY "${folder}")
    set(header "${folder}/${argument_MODEL}.hpp")
    set(options "")
    if(argument_EMBED)
        list(APPEND options embedded)
    endif()
    if(argument_OPTIONAL)  # our own tests': an architecture that is not supported is no error
        list(APPEND options optional)
    endif()
    add_custom_command(
        OUTPUT "${header}.stamp" BYPRODUCTS "${header}"
        COMMAND tenon_checkpoint_tool header ${argument_MODEL} "${checkpoint}" "${header}" "${header}.d" ${options}
        COMMAND "${CMAKE_COMMAND}" -E touch "${header}.stamp"
        DEPENDS tenon_checkpoint_tool "${configuration}" DEPFILE "${header}.d"
        COMMENT "Configuration of ${checkpoint}" VERBATIM)
    set(name ${argument_TARGET}_${argument_MODEL}_checkpoint)
    add_custom_target(${name} DEPENDS "${header}.stamp")
    add_dependencies(${argument_TARGET} ${name})
    set(scope PUBLIC)
    get_target_property(type ${argument_TARGET} TYPE)
    if(type STREQUAL "INTERFACE_LIBRARY")
        set(scope INTERFACE)
    endif()
    target_include_directories(${argument_TARGET} ${scope} "$<BUILD_INTERFACE:${folder}>")

    if(argument_EMBED)
        set(source "${folder}/${argument_MODEL}.cpp")
        add_custom_command(
            OUTPUT "${source}"
            COMMAND tenon_checkpoint_tool files ${argument_MODEL} "${checkpoint}" "${source}" "${source}.d"
            DEPENDS tenon_checkpoint_tool "${configuration}" DEPFILE "${source}.d"
            COMMENT "Files of ${checkpoint}" VERBATIM)
        add_library(${name}_files OBJECT "${source}")
        set_target_properties(${name}_files PROPERTIES POSITION_INDEPENDENT_CODE ON)
        target_link_libraries(${name}_files PRIVATE tenon::tenon)
        target_sources(${argument_TARGET} ${scope} "$<BUILD_INTERFACE:$<TARGET_OBJECTS:${name}_files>>")
    endif()
endfunction()

# The program that writes headers and sources, once for all.
function(_tenon_checkpoint_tool)
    if(TARGET tenon_checkpoint_tool)
        return()
    endif()
    add_executable(tenon_checkpoint_tool EXCLUDE_FROM_ALL "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/checkpoint_tool.cpp")
    target_link_libraries(tenon_checkpoint_tool PRIVATE tenon::tenon)
    find_path(TENON_RAPIDJSON_INCLUDE_DIR rapidjson/document.h)
    if(TENON_RAPIDJSON_INCLUDE_DIR)
        target_include_directories(tenon_checkpoint_tool SYSTEM PRIVATE "${TENON_RAPIDJSON_INCLUDE_DIR}")
    endif()
    # It reads weights once: optimizing it takes longer.
    target_compile_options(tenon_checkpoint_tool PRIVATE -O0)
    set_target_properties(tenon_checkpoint_tool PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                                           "${CMAKE_BINARY_DIR}/tenon_checkpoint_tool")
endfunction()
