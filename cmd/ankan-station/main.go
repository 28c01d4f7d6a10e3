// Command ankan-station runs the readers of one place at a plant's line. It
// connects to the plant by mutual TLS, says which readers it has, and does what
// the plant asks of the chips in them. It has no database, no keys but that of
// its own name, and nothing that a restart could lose.
//
// It exits with 0 when it is stopped, with 1 when something failed, and with 2
// when it was called wrongly.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ankan/pcsc"
	"ankan/station"
	"ankan/station/drawer"
	"ankan/station/slot"
)

// A program is the command line.
type program struct {
	Init    initCommand    `cmd:"" help:"Make the station's key, and print what the plant is to know of it."`
	Show    showCommand    `cmd:"" help:"Print the station's fingerprint."`
	Readers readersCommand `cmd:"" help:"List the PC/SC readers of this machine."`

	Serve serveCommand `cmd:"" help:"Connect to the plant and work until stopped; a connection that ends is made again."`

	Version kong.VersionFlag `help:"Print the version."`
}

// version is set by the build.
var version = "unknown"

// app is what every command needs.
type app struct {
	ctx       context.Context
	out, errs io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	var p program
	done := -1
	parser := kong.Must(&p, kong.Name("ankan-station"), kong.Writers(out, errs), kong.Exit(func(n int) { done = n; panic(done) }),
		kong.Description("Readers at the line of an Ankan plant."), kong.Vars{"version": version})
	k, err := func() (k *kong.Context, err error) {
		defer func() {
			if done >= 0 {
				_ = recover() // --help and --version end here
			}
		}()
		return parser.Parse(args)
	}()
	if done >= 0 {
		return done
	}
	if err != nil {
		fmt.Fprintln(errs, "ankan-station:", err)
		fmt.Fprintln(errs, "try: ankan-station --help")
		return 2
	}
	if err := k.Run(&app{ctx, out, errs}); err != nil && ctx.Err() == nil {
		fmt.Fprintln(errs, "ankan-station:", err)
		return 1
	}
	return 0
}

type initCommand struct {
	Name   string `arg:"" help:"The station's name, as the plant's configuration has it."`
	Folder string `required:"" short:"k" help:"New folder for the key." placeholder:"FOLDER"`
}

func (c initCommand) Run(a *app) error {
	key, err := station.NewIdentity(c.Folder, c.Name)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s has a key already; show it: ankan-station show -k %s", c.Folder, c.Folder)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "# for the plant's configuration, under line.stations\n%s: %s\n", c.Name, key)
	return nil
}

type showCommand struct {
	Folder string `required:"" short:"k" help:"Folder of the key." placeholder:"FOLDER"`
}

func (c showCommand) Run(a *app) error {
	own, key, err := identity(c.Folder)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: %s\n", own.Leaf.Subject.CommonName, key)
	return nil
}

func identity(folder string) (tls.Certificate, station.Fingerprint, error) {
	own, key, err := station.LoadIdentity(folder)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s has no key; make one: ankan-station init NAME -k %s", folder, folder)
	}
	return own, key, err
}

type serveCommand struct {
	Plant    string   `required:"" help:"Address of the plant's line." placeholder:"HOST:PORT"`
	PlantKey string   `required:"" help:"Fingerprint of the plant's key: ankan line stations." placeholder:"SHA256:..."`
	Folder   string   `required:"" short:"k" help:"Folder of the station's key." placeholder:"FOLDER"`
	Reader   []string `help:"A PC/SC reader, which a person feeds: NAME=READER, as ankan-station readers lists it or how it begins." placeholder:"NAME=READER" sep:"none"`
	Drawer   []string `help:"A reader with a drawer of software chips: NAME=unix:PATH or NAME=tcp:HOST:PORT." placeholder:"NAME=ADDRESS" sep:"none"`
}

func (c serveCommand) Run(a *app) error {
	own, _, err := identity(c.Folder)
	if err != nil {
		return err
	}
	plant, err := station.ParseFingerprint(c.PlantKey)
	if err != nil {
		return err
	}
	slots, err := c.slots(a)
	if err != nil {
		return err
	}
	d := tls.Dialer{Config: station.TLSConfig(own, &plant)}
	for failed := time.Duration(0); ; {
		began := time.Now()
		err := c.visit(a, &d, slots)
		if a.ctx.Err() != nil {
			fmt.Fprintln(a.errs, "stopped; the chips are out of the readers")
			return nil
		}
		if time.Since(began) > time.Minute {
			failed = 0
		}
		failed++
		wait := min(failed*time.Second, 15*time.Second)
		fmt.Fprintf(a.errs, "not connected: %v; again in %s\n", err, wait)
		select {
		case <-a.ctx.Done():
		case <-time.After(wait):
		}
	}
}

// visit works for the plant as long as the connection lasts.
func (c serveCommand) visit(a *app, d *tls.Dialer, slots []station.Slot) error {
	ctx, cancel := context.WithTimeout(a.ctx, 10*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", c.Plant)
	if err != nil {
		return err
	}
	defer conn.Close()
	readers := "1 reader"
	if len(slots) != 1 {
		readers = fmt.Sprintf("%d readers", len(slots))
	}
	fmt.Fprintf(a.errs, "connected to %s with %s\n", c.Plant, readers)
	err = station.Attend(a.ctx, conn, version, slots)
	if errors.Is(err, io.EOF) {
		err = errors.New("the plant hung up; does its configuration know this station, and is the site running?")
	}
	return err
}

// slots is the readers of the command line.
func (c serveCommand) slots(a *app) ([]station.Slot, error) {
	var all []station.Slot
	names := map[string]bool{}
	add := func(flag, text string, open func(name, where string) (func(context.Context) (station.Reader, error), bool), want string) error {
		name, where, ok := strings.Cut(text, "=")
		opener, fits := open(name, where)
		if !ok || !fits || name == "" || strings.ContainsAny(name, "/ ") {
			return fmt.Errorf("%s %q: want %s", flag, text, want)
		}
		if names[name] {
			return fmt.Errorf("%s %q: two readers have this name", flag, text)
		}
		names[name] = true
		all = append(all, station.Slot{Name: name, Open: opener})
		return nil
	}
	for _, text := range c.Reader {
		if err := add("--reader", text, func(name, reader string) (func(context.Context) (station.Reader, error), bool) {
			tell := func(what string) { fmt.Fprintf(a.errs, "reader %s: %s\n", name, what) }
			return func(ctx context.Context) (station.Reader, error) { return slot.Open(ctx, reader, tell) }, reader != ""
		}, "NAME=READER"); err != nil {
			return nil, err
		}
	}
	for _, text := range c.Drawer {
		if err := add("--drawer", text, func(_, where string) (func(context.Context) (station.Reader, error), bool) {
			network, address, ok := strings.Cut(where, ":")
			return func(ctx context.Context) (station.Reader, error) { return drawer.Dial(ctx, network, address) }, ok && address != "" && (network == "tcp" || network == "unix")
		}, "NAME=unix:PATH or NAME=tcp:HOST:PORT"); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no reader is named; list them: ankan-station readers; add --reader NAME=READER, or --drawer NAME=unix:PATH")
	}
	return all, nil
}

type readersCommand struct{}

func (readersCommand) Run(a *app) error {
	all, err := pcsc.Readers(a.ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		card := "empty"
		if r.Present {
			card = "a card is in it"
		}
		fmt.Fprintf(a.out, "%s: %s\n", r.Reader, card)
	}
	if len(all) == 0 {
		return errors.New("pcscd knows no reader; is one plugged in, and does its driver know it?")
	}
	return nil
}
