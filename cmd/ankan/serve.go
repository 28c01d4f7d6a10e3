package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"ankan/demo"
	"ankan/site"
)

type serveCmd struct {
	Config string `short:"c" required:"" placeholder:"site.yaml" help:"Configuration of the site." type:"path"`
}

func (s serveCmd) Run(a *app) error {
	noCoreDumps()
	c, err := site.LoadConfig(s.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", c.Site)
	token, err := site.OpenToken(c, false)
	if err != nil {
		return err
	}
	defer token.Close()
	st, err := site.Open(a.ctx, c, token, log)
	if err != nil {
		return err
	}
	defer st.Close()
	log.Info("serving", "control", c.Control, "module", token.Info().Model, "certificate", token.Info().Certificate)
	return st.Run(a.ctx)
}

type edgeCmd struct {
	Config string `short:"c" required:"" placeholder:"site.yaml" help:"Configuration of the site." type:"path"`
}

func (e edgeCmd) Run(a *app) error {
	c, err := site.LoadConfig(e.Config)
	if err != nil {
		return err
	}
	return site.RunEdge(a.ctx, c, slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", c.Site, "part", "edge"))
}

type chipsCmd struct {
	Dir    string `arg:"" help:"Folder of the drawer." type:"existingdir"`
	Listen string `required:"" help:"Loopback address, host:port." placeholder:"HOST:PORT"`
}

func (c chipsCmd) Run(a *app) error {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	a.printf("chips of %s at %s\n", c.Dir, l.Addr())
	return demo.ServeChips(a.ctx, c.Dir, l)
}

// noCoreDumps keeps the memory of a process that opens keys from being written
// to disk when it crashes.
func noCoreDumps() {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		fmt.Fprintln(os.Stderr, "ankan: core dumps stay possible:", err)
	}
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
