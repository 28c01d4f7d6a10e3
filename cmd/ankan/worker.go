package main

import (
	"log/slog"
	"os"

	"ankan/site"
	"ankan/worker"
)

type workerCmd struct {
	Run    workerRunCmd    `cmd:"" default:"withargs" help:"Draw key sets for a bureau on PostgreSQL, beside its main process and other workers."`
	Grants workerGrantsCmd `cmd:"" help:"Print the SQL that lets a role of the database draw, and no more."`
}

type workerRunCmd struct {
	Config string `short:"c" required:"" placeholder:"worker.yaml" help:"Configuration of the worker." type:"path" env:"ANKAN_WORKER_CONFIG"`
}

func (c workerRunCmd) Run(a *app) error {
	w, err := site.LoadWorker(c.Config)
	if err != nil {
		return err
	}
	return site.RunWorker(a.ctx, w, slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", w.Site, "worker", w.Name))
}

type workerGrantsCmd struct {
	Role   string `required:"" placeholder:"ROLE" help:"Role that the workers sign in with."`
	Schema string `default:"public" placeholder:"SCHEMA" help:"Where the site's tables are."`
}

func (c workerGrantsCmd) Run(a *app) error {
	for _, g := range worker.Grants(c.Schema, c.Role) {
		a.printf("%s;\n", g)
	}
	return nil
}
