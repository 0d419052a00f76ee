# fish completion for k3simg
# k3simg itself knows what fits: see "k3simg completion --help".

function __k3simg_answers
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program completion answer -- $words "$cur" 2>/dev/null)
        if string match -q ':*' -- $line
            set -l prefix (string replace -r '^:[a-z]+ ' '' -- $line)
            set -l begun (string sub -s (math (string length -- "$prefix") + 1) -- "$cur")
            for file in (complete -C "__k3simg_nothing $begun")
                if string match -q ':files*' -- $line; or string match -q '*/' -- $file
                    printf '%s%s\n' "$prefix" "$file"
                end
            end
        else
            echo $line
        end
    end
end

complete -c k3simg -f -a '(__k3simg_answers)'
