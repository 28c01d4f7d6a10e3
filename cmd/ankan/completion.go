package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"ankan/access"
)

// Completion scripts are made from the command line's own model: there is no
// list of commands to keep in step.

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (c completionCmd) Run(a *app) error {
	switch c.Shell {
	case "fish":
		fishCompletion(a)
	case "zsh":
		// zsh runs bash's completions (zshcompsys, bashcompinit).
		a.printf("# zsh completion of ankan; load it with: source <(ankan completion zsh)\n")
		a.printf("autoload -U +X compinit bashcompinit && compinit -u && bashcompinit\n")
		bashCompletion(a)
	default:
		a.printf("# bash completion of ankan; load it with: source <(ankan completion bash)\n")
		bashCompletion(a)
	}
	return nil
}

// nodes is the whole command line, commands before their subcommands.
func nodes(n *kong.Node) []*kong.Node {
	all := []*kong.Node{n}
	for _, c := range n.Children {
		if !c.Hidden {
			all = append(all, nodes(c)...)
		}
	}
	return all
}

// flagsOf is every flag that a command takes.
func flagsOf(n *kong.Node) []*kong.Flag {
	return slices.Concat(n.AllFlags(true)...)
}

// takes is whether a flag is followed by a value.
func takes(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

// choices is what an argument or a flag's value can be; none if that is open.
func choices(v *kong.Value) []string {
	switch v.Tag.Get("complete") {
	case "kinds":
		return actKinds()
	case "roles":
		return access.DefaultPolicy().Roles
	}
	if v.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
}

// isFile is whether a value names a file or folder.
func isFile(v *kong.Value) bool {
	return v.Tag.Get("complete") == "files" || slices.Contains([]string{"path", "existingfile", "existingdir"}, v.Tag.Type)
}

// words is what may stand after a command: its subcommands, or what its first
// argument may be, and whether that is a file.
func words(n *kong.Node) (list []string, files bool) {
	for _, c := range n.Children {
		if !c.Hidden {
			list = append(list, c.Name)
		}
	}
	for _, p := range n.Positional {
		list = append(list, choices(p)...)
		files = files || isFile(p)
	}
	return list, files
}

func bashCompletion(a *app) {
	var known, after, flags, values strings.Builder
	for _, n := range nodes(a.model.Node) {
		path := n.Path()
		if path != "" {
			fmt.Fprintf(&known, "|%q", path)
		}
		list, files := words(n)
		fmt.Fprintf(&after, "    %q) words=%q files=%q ;;\n", path, strings.Join(list, " "), yes(files))
		var names []string
		for _, f := range flagsOf(n) {
			names = append(names, "--"+f.Name)
			if !takes(f) {
				continue
			}
			pattern := fmt.Sprintf("%q", path+" --"+f.Name)
			if f.Short != 0 {
				pattern += fmt.Sprintf("|%q", path+" -"+string(f.Short))
			}
			fmt.Fprintf(&values, "    %s) words=%q files=%q value=y ;;\n", pattern, strings.Join(choices(f.Value), " "), yes(isFile(f.Value)))
		}
		fmt.Fprintf(&flags, "    %q) words=%q ;;\n", path, strings.Join(names, " "))
	}
	a.printf(`_ankan() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path='' words='' files='' value='' i
  # readline breaks --flag=value into three words.
  if [ "$cur" = "=" ]; then cur=''
  elif [ "$prev" = "=" ]; then prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${path:+$path }${COMP_WORDS[i]}" in
    %s) path="${path:+$path }${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path $prev" in
%s  esac
  if [ -n "$value" ]; then :
  elif [[ $cur == -* ]]; then
    case "$path" in
%s    esac
  else
    case "$path" in
%s    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [ -n "$files" ]; then COMPREPLY+=($(compgen -f -- "$cur")); fi
}
complete -o filenames -F _ankan ankan
`, strings.TrimPrefix(known.String(), "|"), values.String(), flags.String(), after.String())
}

func yes(b bool) string {
	if b {
		return "y"
	}
	return ""
}

// fishHead tells commands apart by the words of the command line that are no
// flags: __ankan_at is whether they are just these, __ankan_in whether they
// begin so.
const fishHead = `# fish completion of ankan; load it with: ankan completion fish | source
function __ankan_words
  set -l all (commandline -opc)
  string match -v -- '-*' $all[2..]
end
function __ankan_at
  set -l w (__ankan_words)
  test "$w" = "$argv"
end
function __ankan_in
  set -l w (__ankan_words)
  test (count $w) -ge (count $argv); and test "$w[1..$(count $argv)]" = "$argv"
end
complete -c ankan -f
`

func fishCompletion(a *app) {
	a.printf("%s", fishHead)
	for _, n := range nodes(a.model.Node) {
		path := n.Path()
		for _, c := range n.Children {
			a.printf("complete -c ankan -n %s -a %s -d %s\n", fishQuote(strings.TrimSpace("__ankan_at "+path)), c.Name, fishQuote(c.Help))
		}
		in := fishQuote("__ankan_in " + path)
		if path == "" {
			in = "true"
		}
		if list, files := words(n); len(n.Children) == 0 {
			if len(list) > 0 {
				a.printf("complete -c ankan -n %s -a %s\n", in, fishQuote(strings.Join(list, " ")))
			}
			if files {
				a.printf("complete -c ankan -n %s -F\n", in)
			}
		}
		for _, f := range n.Flags {
			a.printf("complete -c ankan -n %s -l %s%s -d %s\n", in, f.Name, fishValue(f), fishQuote(f.Help))
		}
	}
}

func fishValue(f *kong.Flag) string {
	var b strings.Builder
	if f.Short != 0 {
		fmt.Fprintf(&b, " -s %c", f.Short)
	}
	switch {
	case !takes(f):
	case isFile(f.Value):
		b.WriteString(" -r -F")
	case len(choices(f.Value)) > 0:
		b.WriteString(" -x -a " + fishQuote(strings.Join(choices(f.Value), " ")))
	default:
		b.WriteString(" -x")
	}
	return b.String()
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
