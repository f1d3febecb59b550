# Completion of pdkeys for elvish: pdkeys reads the line, and answers with words, which elvish quotes.

set edit:completion:arg-completer[pdkeys] = {|@words|
    var kind @answer = (env _PDKEYS_COMPLETE=elvish pdkeys -- $@words 2>/dev/null | from-lines)
    if (eq $kind words) {
        put $@answer
    } else {
        # elvish knows best how to complete names of files.
        edit:complete-filename $@words
    }
}
