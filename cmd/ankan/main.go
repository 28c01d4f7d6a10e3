// Command ankan is a site of Ankan, its command line, and the demonstration.
//
// It exits with 0 when it did what was asked, with 1 when that was refused or
// did not work, with 2 when it was called wrongly, and with 3 when an HSM does
// not take the PIN.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"ankan/access"
	"ankan/hsm/pkcs11"
)

// version is set by the build.
var version = "unknown"

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // refused, or did not work
	exitUsage  = 2
	exitPIN    = 3 // whoever tries again by itself locks the token
)

// cli is the command line.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run a site: its edge, its orders, its line, its control socket."`
	Edge    edgeCmd    `cmd:"" help:"Run only a site's face to the network, as a process of its own."`
	Worker  workerCmd  `cmd:"" help:"Draw key sets for a bureau on machines of their own."`
	Demo    demoCmd    `cmd:"" help:"Drive one order through three sites on this machine."`
	Site    siteCmd    `cmd:"" help:"Set up a site, or show how it is."`
	Backup  backupCmd  `cmd:"" help:"Back a site up into one file that some of its custodians open together."`
	Restore restoreCmd `cmd:"" help:"Put a site back out of a backup, where there is none. It comes out locked."`
	Fsck    fsckCmd    `cmd:"" help:"Check all of a site that does not run: database, log, acts, blocks, ledger, stock, keys, files."`
	Partner partnerCmd `cmd:"" help:"Partner cards: whom a site exchanges files with."`
	Order   orderCmd   `cmd:"" help:"Draft and follow orders."`
	Ledger  ledgerCmd  `cmd:"" help:"The identity ledger of a bureau: which order a number went to."`
	Act     actCmd     `cmd:"" help:"Ask for an act, sign it, do it."`
	Key     keyCmd     `cmd:"" help:"Keys of the site."`

	Ceremony ceremonyCmd `cmd:"" help:"Key ceremonies: plans, steps, components, transcripts."`
	Policy   policyCmd   `cmd:"" help:"The policy in force and the next one."`
	Notices  noticesCmd  `cmd:"" help:"What a person was told."`

	Release  releaseCmd  `cmd:"" help:"Operating systems of a plant's chips: origin, integration, security test, approval."`
	Lot      lotCmd      `cmd:"" help:"Chip lots of a plant."`
	Line     lineCmd     `cmd:"" help:"Batches on the line of a plant."`
	Stock    stockCmd    `cmd:"" help:"Stock of a plant: accounts, movements, counts, what is printed."`
	Box      boxCmd      `cmd:"" help:"Boxes of good cards."`
	Vault    vaultCmd    `cmd:"" help:"Vault of a plant: openings, boxes in it."`
	Shipment shipmentCmd `cmd:"" help:"Shipments to operators."`
	Card     cardCmd     `cmd:"" help:"Look at cards."`
	Format   formatCmd   `cmd:"" help:"Layouts of order and response files: list, new, show, check, try."`
	Profile  profileCmd  `cmd:"" help:"Electrical profiles: check, show, compare, import, render, export."`
	Audit    auditCmd    `cmd:"" help:"Export and verify the audit log."`
	Person   personCmd   `cmd:"" help:"A site's people: list, write down, register; software passkeys."`
	Chips    chipsCmd    `cmd:"" help:"Serve a drawer of software chips."`
	Bench    benchCmd    `cmd:"" help:"Measure, side by side with peers."`
	Simulate simulateCmd `cmd:"" help:"Run whole factories under seeds, and look for what must not be."`

	Completion completionCmd    `cmd:"" help:"Print a shell's completion script: source <(ankan completion bash)."`
	Man        manCmd           `cmd:"" help:"Print the manual page: ankan man | man -l -."`
	Version    kong.VersionFlag `help:"Print the version."`
}

// app is what every command needs.
type app struct {
	ctx    context.Context
	out    io.Writer
	model  *kong.Application
	config string // of the site that the command spoke to, for the next step after an error
	act    string // that the command was about, likewise
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
	noCoreDumps()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	code := -1
	parser, err := newParser(out, errs, func(n int) { code = n; panic(exited{}) })
	if err != nil {
		fmt.Fprintln(errs, "ankan:", err)
		return exitUsage
	}
	if len(args) == 0 {
		fmt.Fprintln(errs, "ankan: no command")
		fmt.Fprintln(errs, "try: ankan --help")
		return exitUsage
	}
	k, err := parse(parser, args)
	if code >= 0 {
		return code
	}
	if err != nil {
		fmt.Fprintln(errs, "ankan:", err)
		fmt.Fprintf(errs, "try: %s --help\n", where(err))
		return exitUsage
	}
	a := &app{ctx: ctx, out: out, model: parser.Model}
	err = k.Run(a)
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(errs, "ankan: stopped")
	default:
		fmt.Fprintln(errs, "ankan:", errorText(errs, err))
		if next := a.advice(k.Command(), err); next != "" {
			fmt.Fprintln(errs, "next:", next)
		}
	}
	if errors.Is(err, pkcs11.ErrPIN) {
		return exitPIN
	}
	return exitFailed
}

func newParser(out, errs io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(&cli{}, kong.Name("ankan"),
		kong.Description("The system behind a SIM card's secrets: from the operator's order to cards, HLR and certificate of destruction."),
		kong.Vars{"version": versionText(), "kinds": strings.Join(actKinds(), ", "), "roles": strings.Join(access.DefaultPolicy().Roles, ", ")},
		kong.Writers(out, errs), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Exit(exit))
}

// versionText is the version of the build, or else the commit that it was
// built from.
func versionText() string {
	if version != "unknown" {
		return "ankan " + version
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				return fmt.Sprintf("ankan %.12s", s.Value)
			}
		}
	}
	return "ankan " + version
}

// where is the command that was called wrongly.
func where(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context.Selected() != nil {
		return p.Context.Selected().FullPath()
	}
	if errors.As(err, &p) && len(p.Context.Path) > 0 {
		if n := p.Context.Path[len(p.Context.Path)-1].Node(); n != nil {
			return n.FullPath()
		}
	}
	return "ankan"
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
