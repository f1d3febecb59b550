complete --keep-order --exclusive --command pdkeys --arguments "(COMPLETE=fish pdkeys -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
