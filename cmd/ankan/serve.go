package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"ankan/console"
	"ankan/demo"
	"ankan/parts"
	"ankan/site"
)

type serveCmd struct{ configFlag }

func (s serveCmd) Run(a *app) error {
	c, err := s.load()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", c.Site)
	if err := c.CheckSetUp(); err != nil {
		return err
	}
	token, err := site.OpenToken(c, false)
	if err != nil {
		return err
	}
	defer token.Close()
	st, err := site.Open(a.ctx, c, token, log, parts.All()...)
	if err != nil {
		return err
	}
	defer st.Close()
	log.Info("serving", "control", c.Control, "module", token.Info().Model, "certificate", token.Info().Certificate)
	if c.Console.Listen == "" {
		return st.Run(a.ctx)
	}
	web, err := console.Open(st, log, versionText())
	if err != nil {
		return err
	}
	log.Info("console", "address", web.Origin())
	g, ctx := errgroup.WithContext(a.ctx)
	g.Go(func() error { return st.Run(ctx) })
	g.Go(func() error { return web.Run(ctx) })
	return g.Wait()
}

type edgeCmd struct{ configFlag }

func (e edgeCmd) Run(a *app) error {
	c, err := e.load()
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
	if t, ok := l.Addr().(*net.TCPAddr); ok && t.IP.IsLoopback() {
		a.printf("chips of %s at %s\n", short(c.Dir), l.Addr())
	}
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
