package main

import (
	"strings"

	"github.com/alecthomas/kong"
)

// manCmd prints the manual page, made from the command line's own model.
type manCmd struct{}

func (manCmd) Run(a *app) error {
	m := a.model
	a.printf(".TH ANKAN 1 \"\" %q \"Ankan\"\n", versionText())
	a.printf(".SH NAME\nankan \\- %s\n", roff(lowerFirst(strings.TrimSuffix(m.Help, "."))))
	a.printf(".SH SYNOPSIS\n.B ankan\n.I command\n.RI [ flags ]\n")
	a.printf(".SH COMMANDS\n")
	for _, n := range m.Leaves(true) {
		manCommand(a, n)
	}
	a.printf(".SH FLAGS OF EVERY COMMAND\n")
	for _, f := range m.Flags {
		manFlag(a, f)
	}
	a.printf("%s", manRest)
	return nil
}

func manCommand(a *app, n *kong.Node) {
	a.printf(".SS %s\n", roff(n.Path()))
	a.printf(".B %s\n.PP\n%s\n", roff(n.FullPath()+usage(n)), roff(n.Help))
	for _, p := range n.Positional {
		a.printf(".TP\n.I %s\n%s\n", roff(p.Name), roff(p.Help))
	}
	for _, f := range n.Flags {
		manFlag(a, f)
	}
}

// usage is the arguments and flags of a command, as its line of usage has them.
func usage(n *kong.Node) string {
	var b strings.Builder
	for _, p := range n.Positional {
		b.WriteString(" " + strings.ToUpper(p.Name))
	}
	for _, f := range n.Flags {
		switch {
		case !f.Required:
			b.WriteString(" [" + flagText(f) + "]")
		default:
			b.WriteString(" " + flagText(f))
		}
	}
	return b.String()
}

func flagText(f *kong.Flag) string {
	if !takes(f) {
		return "--" + f.Name
	}
	return "--" + f.Name + "=" + f.FormatPlaceHolder()
}

func manFlag(a *app, f *kong.Flag) {
	text := flagText(f)
	if f.Short != 0 {
		text = "-" + string(f.Short) + ", " + text
	}
	help := f.Help
	if len(f.Envs) > 0 {
		help += " Or in the environment: " + strings.Join(f.Envs, ", ") + "."
	}
	a.printf(".TP\n.B %s\n%s\n", roff(text), roff(help))
}

// roff keeps text from being read as requests (groff_man(7)).
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

const manRest = `.SH EXIT STATUS
.TP
.B 0
It did what was asked.
.TP
.B 1
That was refused, or did not work. The reason stands on standard error, and what to do next if that is known.
.TP
.B 2
The command was called wrongly.
.SH ENVIRONMENT
.TP
.B ANKAN_CONFIG
The site's configuration, for commands without \-c.
.TP
.BR ANKAN_PERSON ", " ANKAN_PASSKEY
Who signs, for commands without \-\-person and \-\-passkey.
.TP
.B TERM
Where it is dumb, progress is shown in plain lines. No command uses colour, so NO_COLOR changes nothing.
.SH SEE ALSO
.BR ankan\-verify (1)
`
