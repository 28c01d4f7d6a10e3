package site

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadFormats(t *testing.T) {
	dir := t.TempDir()
	write := func(name, doc string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const doc = "layout: own\nabout: own\noutputs:\n  - {name: a, row: \"${iccid}\"}\n"
	good := write("good.yaml", doc)
	all, err := readFormats([]string{good})
	if err != nil || len(all) != 1 || all[0].Name() != "own" {
		t.Errorf("%v: %v", all, err)
	}
	for want, paths := range map[string][]string{
		"twice.yaml: layout own is there already":             {good, write("twice.yaml", doc)},
		"taken.yaml: layout csv is there already":             {write("taken.yaml", strings.Replace(doc, "layout: own", "layout: csv", 1))},
		"clear.yaml:4:21: outputs[0].row k would stand there": {write("clear.yaml", strings.Replace(doc, "${iccid}", "${k}", 1))},
	} {
		if _, err := readFormats(paths); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := readFormats([]string{filepath.Join(dir, "none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
