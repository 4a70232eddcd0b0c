# bash completion of pngwctl. It asks pngwctl itself, so that it knows every command and option of that
# version, and the users and devices of the PN GW.
_pngwctl()
{
	local cur words cword word
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n := cur words cword
	else
		words=("${COMP_WORDS[@]}")
		cword=$COMP_CWORD
		cur=${words[cword]}
	fi
	COMPREPLY=()
	while IFS= read -r word; do
		COMPREPLY+=("$(printf '%q' "$word")")
	done < <("${words[0]}" --complete "${words[@]:1:cword-1}" "$cur" 2>/dev/null)
	# Bash takes an address for several words.
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$cur"
	fi
}
complete -o default -F _pngwctl pngwctl
