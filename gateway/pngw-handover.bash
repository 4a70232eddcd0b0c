# bash completion of pngw-handover
_pngw_handover() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	case $before in
	--config | give | take) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
	--adapter) COMPREPLY=() ;;
	*) mapfile -t COMPREPLY < <(compgen -W "give back take finish --config --drill --settings --adapter --pair-again --help" -- "$word") ;;
	esac
}
complete -o filenames -F _pngw_handover pngw-handover
