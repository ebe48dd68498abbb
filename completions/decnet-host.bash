# SPDX-License-Identifier: AGPL-3.0-or-later
# Completion of decnet-host for bash: commands, options, and the names of workers of a host that runs.

# The names of the workers of the host that --socket or --script says. bash takes --socket=PATH for three
# words.
_decnet_host_names() {
    local -a which=()
    local i word path
    for ((i = 2; i + 1 < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == --socket || $word == --script ]]; then
            path=${COMP_WORDS[i + 1]}
            [[ $path == '=' ]] && path=${COMP_WORDS[i + 2]}
            which=("$word" "${path/#\~\//$HOME/}")
        fi
    done
    "${COMP_WORDS[0]}" status --names "${which[@]}" 2>/dev/null
}

_decnet_host() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}
    local verbs='run check plan simulate lua doctor
        status start stop restart retry reset reload shutdown logs events wait top'
    local host='--log-level --log-format --shutdown-timeout --slice --max-memory --seed --socket
        --listen --no-control --keep-alive --version --help'
    local which='--socket --script --help'
    COMPREPLY=()
    if [[ $cur == '=' ]]; then
        cur=
    elif [[ $prev == '=' ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
        --log-level)
            COMPREPLY=($(compgen -W 'debug info warn error' -- "$cur"))
            return
            ;;
        --log-format)
            COMPREPLY=($(compgen -W 'pretty logfmt json' -- "$cur"))
            return
            ;;
        --socket | --script)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
        --shutdown-timeout | --slice | --max-memory | --seed | --listen | --timeout | --lines | -n)
            return
            ;;
    esac
    local options=$which names=
    case $verb in
        status) options+=' --json --names' names=1 ;;
        start | stop | restart | retry | reset) options+=' --timeout' names=1 ;;
        reload) options+=' --timeout' ;;
        shutdown) options+=' --now --timeout' ;;
        logs) options+=' --follow --lines --json' names=1 ;;
        events) options+=' --all --json' ;;
        wait) options+=' --ready --timeout' names=1 ;;
        top | doctor) ;;
        *) options=$host ;;
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    elif [[ -n $names && $COMP_CWORD -ge 2 ]]; then
        local name
        while IFS= read -r name; do
            printf -v name '%q' "$name"
            [[ $name == "$cur"* ]] && COMPREPLY+=("$name")
        done < <(_decnet_host_names)
    elif [[ $options == "$host" ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -X '!*.lua' -- "$cur"; compgen -d -- "$cur")
        if [[ $COMP_CWORD -eq 1 ]]; then
            COMPREPLY+=($(compgen -W "$verbs" -- "$cur"))
        fi
    fi
}

complete -F _decnet_host decnet-host
