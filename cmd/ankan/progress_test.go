package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// journey is what both tests show.
func journey(r *reporter, failed bool) {
	r.Stage("keys", 0)
	r.Note("operator shares %d keys", 2)
	r.Stage("cards", 30)
	for i := range 31 {
		r.Progress(i)
		if i == 15 {
			r.Note("card 15 rejected")
			time.Sleep(400 * time.Millisecond) // long enough for a bar to be drawn
		}
	}
	r.close(failed)
}

var seconds = regexp.MustCompile(`[0-9.]+ s\n`)

func TestPlainProgress(t *testing.T) {
	var out bytes.Buffer
	journey(newReporter(&out), false)
	want := "keys\n  operator shares 2 keys\n  done in N s\ncards\n"
	for n := 3; n <= 30; n += 3 {
		want += fmt.Sprintf("  %d of 30\n", n)
		if n == 15 {
			want += "  card 15 rejected\n"
		}
	}
	want += "  done in N s\n"
	if got := seconds.ReplaceAllString(out.String(), "N s\n"); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}

// TestTerminalProgress shows bars while stages run, and leaves none of them
// behind: what stays is a line for the stage, its notes and its time.
func TestTerminalProgress(t *testing.T) {
	t.Setenv("TERM", "xterm")
	raw := onTerminal(t, func(out *os.File) { journey(newReporter(out), true) })
	if !strings.Contains(raw, "15 / 30") {
		t.Errorf("no bar was shown: %q", raw)
	}
	if strings.Contains(raw, "\x1b[3") || strings.Contains(raw, "\x1b[4") {
		t.Errorf("colour: %q", raw)
	}
	want := "keys\n  operator shares 2 keys\n  done in N s\ncards\n  card 15 rejected\n  stopped after N s\n"
	if got := seconds.ReplaceAllString(screen(raw), "N s\n"); got != want {
		t.Errorf("what stays is %q, want %q", got, want)
	}
}

func TestDumbTerminal(t *testing.T) {
	t.Setenv("TERM", "dumb")
	raw := onTerminal(t, func(out *os.File) { journey(newReporter(out), false) })
	if strings.Contains(raw, "\x1b") || !strings.Contains(raw, "  15 of 30\r\n") {
		t.Errorf("found %q, want plain lines", raw)
	}
}

// onTerminal runs show on a new pseudo-terminal (pty(7)) and returns what it
// wrote.
func onTerminal(t *testing.T, show func(*os.File)) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&got, master) // ends with an error when the last writer has gone
	}()
	show(slave)
	slave.Close()
	<-read
	return got.String()
}

// screen is what a terminal shows after these bytes: lines, carriage returns,
// cursor up and erase, which is all that the bars use. Anything else stays in
// sight and fails the test.
func screen(raw string) string {
	lines, row, col := []string{""}, 0, 0
	for raw != "" {
		if m := regexp.MustCompile(`^\x1b\[([0-9]*)([AJK])`).FindStringSubmatch(raw); m != nil {
			switch m[2] {
			case "A":
				up := 1
				fmt.Sscan(m[1], &up)
				row = max(row-up, 0)
			case "J":
				lines = lines[:row+1]
				lines[row] = lines[row][:min(col, len(lines[row]))]
			case "K":
				lines[row] = ""
			}
			raw = raw[len(m[0]):]
			continue
		}
		switch raw[0] {
		case '\r':
			col = 0
		case '\n':
			row++
			if row == len(lines) {
				lines = append(lines, "")
			}
		default:
			if pad := col - len(lines[row]); pad > 0 {
				lines[row] += strings.Repeat(" ", pad)
			}
			lines[row] = lines[row][:col] + raw[:1] + lines[row][min(col+1, len(lines[row])):]
			col++
		}
		raw = raw[1:]
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}
