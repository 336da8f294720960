#compdef felhom-agent
# Completion of felhom-agent(1) for zsh: commands, options, files, and guests with their names.
# Made of the commands themselves by `make docs`.

_felhom_agent_commands() {
    local -a commands=(
@COMMANDS@
    )
    _describe -t commands command commands
}

# The guests of the agent that --config names.
_felhom_agent_guests() {
    local -a guests config
    local line at=${felhom_agent_words[(I)--config]}
    ((at)) && config=(--config ${(Q)~felhom_agent_words[at + 1]})
    at=${felhom_agent_words[(I)--config=*]}
    ((at)) && config=(--config ${(Q)~felhom_agent_words[at]#--config=})
    for line in ${(f)"$(${(Q)~felhom_agent_words[1]} $config status --names 2> /dev/null < /dev/null)"}; do
        [[ $line == <->$'\t'* ]] || continue
        guests+=("${line%%$'\t'*}:${${line#*$'\t'}//:/\\:}")
    done
    _describe -V -t guests guest guests
}

_felhom-agent() {
    local context state state_descr line
    typeset -A opt_args
    local -a felhom_agent_words=($words)
    _arguments -C @OPTIONS@ \
            '(-)1:command:_felhom_agent_commands' \
            '(-)*::argument:->argument'
    [[ $state == argument ]] || return
    case $words[1] in
@CASES@
    esac
}

_felhom-agent "$@"
