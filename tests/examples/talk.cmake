# A model that was trained in FOLDER, `model`, writes by GENERATE and talks by CHAT. Nobody taught it to end.

set(generate "${GENERATE}" "The cat" --tokens 5 --model)
run(first ${generate} "${model}" --temperature 0)
run(second ${generate} "${model}" --temperature 0 --seed 8)
if(NOT first STREQUAL second OR NOT first MATCHES "^The cat.+\n$")
    message(FATAL_ERROR "without drawing, generate wrote \"${first}\", then \"${second}\"")
endif()

# A question has the same answer alone as at the beginning of a conversation.
file(WRITE "${FOLDER}/template.jinja" "{% for m in messages %}{{ m.content }}\n{% endfor %}")
set(chat "${CHAT}" "${model}" --template "${FOLDER}/template.jinja" --tokens 5 --temperature 0)
run(first ${chat} --prompt "The cat")
file(WRITE "${FOLDER}/questions.txt" "The cat\n\nThe dog\n")
execute_process(COMMAND ${chat} INPUT_FILE "${FOLDER}/questions.txt" OUTPUT_VARIABLE second ERROR_QUIET
                COMMAND_ERROR_IS_FATAL ANY)
string(FIND "${second}" "${first}" position)
if(NOT position EQUAL 0 OR second STREQUAL first)
    message(FATAL_ERROR "chat answered \"${first}\", and in a conversation \"${second}\"")
endif()
