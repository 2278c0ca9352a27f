# SPDX-License-Identifier: Apache-2.0
# Prints what zsh offers when a user has typed a line and asks for its completions: completions.zsh LINE
zmodload zsh/zpty
zpty shell env TERM=dumb zsh -f -i

# Reads what that shell says until its line editor is there: before, control-D would be the end of the input.
until_ready() {
    said=
    until [[ $said == *"<ready>"* ]]; do
        zpty -r shell line || exit 1
        said+=$line
    done
}

zpty -w shell 'autoload -U compinit && compinit -u; PS1=; LISTMAX=10000; stty columns 300 rows 1000'
zpty -w shell 'zle-line-init() { print "<rea""dy>"; }; zle -N zle-line-init'
until_ready
# Control-D lists, control-U takes the line back, and an empty one makes the editor start again.
zpty -w -n shell "$1"$'\C-d\C-u\n'
until_ready
print -r -- $said
zpty -d shell
