# Completion of pdkeys for bash: pdkeys reads the line, and answers with words that are quoted for where they go.

_pdkeys() {
    local answer kind word
    COMPREPLY=()
    answer=$(_PDKEYS_COMPLETE=bash pdkeys -- \
        "${COMP_LINE:0:COMP_POINT}" "${COMP_LINE:COMP_POINT}" "$2" 2>/dev/null) || return
    {
        IFS= read -r kind
        while IFS= read -r word; do
            COMPREPLY+=("$word")
        done
    } <<<"$answer"
    # bash knows best how to complete names of files.
    case $kind in
        files) compopt -o default 2>/dev/null ;;
        directories) compopt -o dirnames 2>/dev/null ;;
    esac
}

if [[ ${BASH_VERSINFO[0]} -gt 4 || ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 ]]; then
    complete -o nosort -F _pdkeys pdkeys
else
    complete -F _pdkeys pdkeys
fi
