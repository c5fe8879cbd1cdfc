# run(<command>...): fails the test where the command fails.
function(run)
    execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# fresh_folder(<path>): an empty folder, whatever an earlier test left there.
function(fresh_folder path)
    file(REMOVE_RECURSE "${path}")
    file(MAKE_DIRECTORY "${path}")
endfunction()
