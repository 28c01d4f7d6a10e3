package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// has fails unless r is JSON with these fields.
func has(t *testing.T, r result, names ...string) map[string]any {
	t.Helper()
	doc, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	for _, n := range append(names, "peer", "peak_rss_mib", "cpu", "cores", "go", "version") {
		if v, ok := got[n]; !ok || v == "" || v == 0.0 {
			t.Errorf("%s is %v in %s", n, v, doc)
		}
	}
	return got
}

func needs(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is missing: install the package %s", program, pkg)
	}
}

func TestBenchOrder(t *testing.T) {
	needs(t, "gpg", "gnupg")
	for _, to := range []string{"ankan", "gnupg"} {
		r, err := benchOrderCmd{Cards: 2500, To: to}.measure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := has(t, r, "cards", "seconds", "cards_per_second", "cards_per_second_per_core", "stages", "response_bytes",
			"peer_version", "peer_seconds", "ratio_to_peer", "ratio_to_gpg", "ratio_to_gpg_default")
		if got["cards"] != 2500.0 || got["sealed_to"] != to || got["ratio_to_gpg"] != got["ratio_to_peer"] {
			t.Errorf("got %v", got)
		}
	}
}

func TestBenchLine(t *testing.T) {
	r, err := benchLineCmd{Profile: "in-5g-usim", Cards: 30, Stations: 3}.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := has(t, r, "cards", "seconds", "cards_per_second", "cards_per_second_per_core", "stations", "apdus_per_card")
	if _, there := got["peer_seconds"]; there || got["peer"] != "none here" {
		t.Errorf("got %v", got)
	}
}

func TestBenchVectors(t *testing.T) {
	r, err := benchVectorsCmd{Vectors: 5000}.measure()
	if err != nil {
		t.Fatal(err)
	}
	if got := has(t, r, "vectors", "seconds", "vectors_per_second_per_core", "with_key_schedule_per_second_per_core", "tuak_vectors", "tuak_vectors_per_second_per_core"); got["cards"] != nil {
		t.Errorf("got %v", got)
	}
}

func TestBenchAudit(t *testing.T) {
	r, err := benchAuditCmd{Entries: 200, Writers: 8}.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	has(t, r, "entries", "seconds", "entries_per_second", "writers", "one_at_a_time_per_second")
}

func TestBenchSFTP(t *testing.T) {
	needs(t, "/usr/sbin/sshd", "openssh-server")
	needs(t, "sftp", "openssh-client")
	r, err := benchSftpCmd{MiB: 3}.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	has(t, r, "mib", "seconds", "mb_per_second", "peer_seconds", "peer_mb_per_second", "ratio_to_peer", "peer_version")
}

func TestBenchWorkers(t *testing.T) {
	r, err := benchWorkersCmd{Cards: 20000, Workers: []int{1, 2}, Procs: 1}.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runs, _ := has(t, r, "cards", "procs_each", "runs")["runs"].([]any)
	if len(runs) != 2 {
		t.Fatalf("got %d runs, want 2", len(runs))
	}
	for i, run := range runs {
		got, _ := run.(map[string]any)
		if got["workers"] != float64(i+1) {
			t.Errorf("run %d has %v workers", i, got["workers"])
		}
		for _, name := range []string{"seconds", "cards_per_second", "wal_bytes_per_card", "block_bytes_per_card", "log_bytes_per_card",
			"workers_processor_seconds", "database_processor_seconds", "processors"} {
			if v, ok := got[name].(float64); !ok || v <= 0 {
				t.Errorf("%s is %v in %v", name, got[name], got)
			}
		}
	}
}

// TestMain lets a bench start this program as a worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestBenchRefused(t *testing.T) {
	ctx := t.Context()
	for want, measure := range map[string]func() (result, error){
		"0 cards at 8 stations":      func() (result, error) { return benchLineCmd{Profile: "in-5g-usim", Stations: 8}.measure(ctx) },
		"0 vectors":                  func() (result, error) { return benchVectorsCmd{}.measure() },
		"1 entries by 1 writers":     func() (result, error) { return benchAuditCmd{Entries: 1, Writers: 1}.measure(ctx) },
		"0 cards, workers [1] with":  func() (result, error) { return benchWorkersCmd{Workers: []int{1}, Procs: 1}.measure(ctx) },
		"a file of 0 MiB":            func() (result, error) { return benchSftpCmd{}.measure(ctx) },
		"order: quantity is 0, want": func() (result, error) { return benchOrderCmd{To: "ankan"}.measure(ctx) },
	} {
		if _, err := measure(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
