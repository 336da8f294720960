# Completion of felhom-agent(1) for bash: commands, options, files, and guests by number.
# Made of the commands themselves by `make docs`.

# What stands in a word's place is left in REPLY: nothing, `guest`, `file`, `text`, or the words
# that it may be.
_felhom_agent_options() {
    REPLY=
    case $1 in
@OPTIONS@
    esac
}

_felhom_agent_value() {
    REPLY=
    case "$1 $2" in
@VALUES@
    esac
}

_felhom_agent_word() {
    REPLY=
    case "$1 $2" in
@WORDS@
    esac
}

# Guests that begin like $1 and do not stand there yet, from the agent that --config names. A list
# shows their names, too; what is put in is the number.
_felhom_agent_guests() {
    local current=$1 config=$2 number name
    local -a numbers=() shown=()
    while IFS=$'\t' read -r number name; do
        [[ $number =~ ^[0-9]+$ && $number == "$current"* && " ${COMP_WORDS[*]:1:COMP_CWORD-1} " != *" $number "* ]] ||
            continue
        numbers+=("$number")
        shown+=("$number  ${name//[^[:print:]]/?}")
    done < <("${COMP_WORDS[0]}" ${config:+--config "$config"} status --names 2> /dev/null < /dev/null)
    # 63, 33 and 64 are lists (bash(1), COMP_TYPE).
    case ${#numbers[@]}/${COMP_TYPE:-9} in
        0/* | 1/*) COMPREPLY=("${numbers[@]}") ;;
        */63 | */33 | */64) COMPREPLY=("${shown[@]}") ;;
        *) COMPREPLY=("${numbers[@]}") ;;
    esac
}

_felhom_agent() {
    local current=${COMP_WORDS[COMP_CWORD]} command='' config='' expects='' option='' word REPLY
    local -i at=0 i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $expects ]]; then
            # Bash takes `--config=x` for three words.
            [[ $word == = ]] && continue
            [[ $option == --config ]] && config=${word/#\~\//$HOME/}
            expects=
        elif [[ $word == -* ]]; then
            option=$word
            _felhom_agent_value "$command" "$option"
            expects=$REPLY
        elif [[ -z $command ]]; then
            command=$word
        else
            at+=1
        fi
    done
    COMPREPLY=()
    if [[ -n $expects ]]; then
        [[ $current == = ]] && current=
    elif [[ $current == -* ]]; then
        _felhom_agent_options "$command"
        expects=$REPLY
    elif [[ -z $command ]]; then
        expects='@COMMANDS@'
    else
        _felhom_agent_word "$command" $at
        expects=$REPLY
    fi
    case $expects in
        '' | text) ;;
        guest) _felhom_agent_guests "$current" "$config" ;;
        file) compopt -o default 2> /dev/null ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$expects" -- "$current") ;;
    esac
}

complete -F _felhom_agent felhom-agent
