# Completion of pdkeys for fish: pdkeys reads the line, and answers with words, which fish quotes.

# fish asks twice for one completion, in an order of its own: one answer serves both.
function __pdkeys_ask --argument-names asker
    if set --query __pdkeys_answer[1]; and test "$__pdkeys_asker" != $asker
        printf '%s\n' $__pdkeys_answer
        set --erase __pdkeys_answer
        return
    end
    set --global __pdkeys_asker $asker
    set --global __pdkeys_answer (_PDKEYS_COMPLETE=fish pdkeys -- \
        (commandline --current-process --tokenize --cut-at-cursor) \
        (commandline --current-token --cut-at-cursor | string collect --allow-empty) 2>/dev/null)
    printf '%s\n' $__pdkeys_answer
end

# Whether a name of a file goes here, which fish knows best how to complete.
function __pdkeys_takes_file
    set --local answer (__pdkeys_ask files)
    contains -- "$answer[1]" files directories
end

function __pdkeys_words
    set --local answer (__pdkeys_ask words)
    test "$answer[1]" = words; and printf '%s\n' $answer[2..]
end

complete --command pdkeys --no-files
complete --command pdkeys --keep-order --arguments '(__pdkeys_words)'
complete --command pdkeys --condition __pdkeys_takes_file --force-files
