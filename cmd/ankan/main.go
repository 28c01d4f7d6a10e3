// Command ankan is a site of Ankan, its command line, and the demonstration.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"ankan/client"
	"ankan/site"
)

// version is set by the build.
var version = "unknown"

// cli is the command line.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run a site: its edge, its orders, its line, its control socket."`
	Edge    edgeCmd    `cmd:"" help:"Run only a site's face to the network, as a process of its own."`
	Demo    demoCmd    `cmd:"" help:"Drive one order through three sites on this machine."`
	Site    siteCmd    `cmd:"" help:"Set up a site, or show how it is."`
	Order   orderCmd   `cmd:"" help:"Draft and follow orders."`
	Act     actCmd     `cmd:"" help:"Ask for an act, sign it, do it."`
	Key     keyCmd     `cmd:"" help:"Keys of the site."`
	Lot     lotCmd     `cmd:"" help:"Chip lots of a plant."`
	Line    lineCmd    `cmd:"" help:"Batches on the line of a plant."`
	Card    cardCmd    `cmd:"" help:"Look at cards."`
	Profile profileCmd `cmd:"" help:"Check and show electrical profiles."`
	Audit   auditCmd   `cmd:"" help:"Export and verify the audit log."`
	Person  personCmd  `cmd:"" help:"Make a software passkey, or list a site's people."`
	Chips   chipsCmd   `cmd:"" help:"Serve a drawer of software chips."`

	Completion completionCmd    `cmd:"" help:"Print a completion script: ankan completion bash."`
	Version    kong.VersionFlag `help:"Print the version."`
}

// app is what every command needs.
type app struct {
	ctx  context.Context
	out  io.Writer
	json bool
}

// siteFlag names the site that a command speaks to.
type siteFlag struct {
	Config string `short:"c" required:"" placeholder:"site.yaml" help:"Configuration of the site." type:"path"`
	JSON   bool   `help:"Print JSON."`
}

func (f siteFlag) client() (*client.Client, error) {
	c, err := site.LoadConfig(f.Config)
	if err != nil {
		return nil, err
	}
	return client.New(c.Control), nil
}

// print prints v as JSON, or calls text.
func (a *app) print(asJSON bool, v any, text func()) error {
	if !asJSON {
		text()
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, kong.Name("ankan"),
		kong.Description("The system behind a SIM card's secrets: from the operator's order to cards, HLR and certificate of destruction."),
		kong.Vars{"version": version}, kong.Writers(out, errs), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(n int) { code = n; panic(exited{}) }))
	if err != nil {
		fmt.Fprintln(errs, "ankan:", err)
		return 2
	}
	k, err := parse(parser, args)
	if code >= 0 {
		return code
	}
	if err != nil {
		fmt.Fprintln(errs, "ankan:", err)
		return 2
	}
	err = k.Run(&app{ctx: ctx, out: out})
	if err == nil {
		return 0
	}
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintln(errs, "ankan:", err)
	}
	return 1
}

type exited struct{}

// parse is kong's Parse, which exits after --help and --version.
func parse(p *kong.Kong, args []string) (k *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
		}
	}()
	return p.Parse(args)
}
