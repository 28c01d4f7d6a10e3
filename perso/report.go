package perso

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"ankan/store"
)

// ReportFormat is the first field of a report.
const ReportFormat = "ankan/report/v1"

// A Report is what a plant tells a bureau of a finished batch. It holds no
// keys. As a file it is one line of JSON, then one line for each card that does
// not carry the keys drawn for it: its number and that of its key set, -1 if
// the identity is retired.
type Report struct {
	Format string `json:"format"`
	Order  string `json:"order"`
	Site   string `json:"site"`
	Counts Counts `json:"counts"`
	OS     string `json:"os"` // SHA-256 of the image on every card
	Rows   int    `json:"rows"`
}

// WriteReport writes the report of a finished batch.
func WriteReport(ctx context.Context, s *store.Store, w io.Writer, rep Report) error {
	head, err := rep.line()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	if _, err := out.Write(head); err != nil {
		return err
	}
	rows := 0
	err = remakes(ctx, s, rep.Order, rep.Counts.Cards, func(card, keyset int) error {
		rows++
		_, err := fmt.Fprintf(out, "%d %d\n", card, keyset)
		return err
	})
	if err != nil {
		return err
	}
	if rows != rep.Rows {
		return fmt.Errorf("order %s: the report has %d rows, want %d", rep.Order, rows, rep.Rows)
	}
	return out.Flush()
}

// remakes calls yield for each card that does not carry the keys drawn for it,
// in order; keyset is -1 for a retired identity. Keys of spares are numbered after
// those of the cards.
func remakes(ctx context.Context, s *store.Store, ord string, cards int, yield func(card, keyset int) error) error {
	rows, err := s.Query(ctx, remade, ord, cards)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var card, keyset int
		if err := rows.Scan(&card, &keyset); err != nil {
			return err
		}
		if err := yield(card, keyset); err != nil {
			return err
		}
	}
	return rows.Err()
}

// line is the first line of a report.
func (rep Report) line() ([]byte, error) {
	b, err := json.Marshal(rep)
	return append(b, '\n'), err
}

// check refuses counts of a batch that is not finished or does not balance.
func (c Counts) check() error {
	open := c.Doubt != 0 || c.Reject != 0 || c.Waiting != 0
	if open || c.Cards <= 0 || c.Good < 0 || c.Retired < 0 || c.Aside < 0 || c.Cards != c.Good+c.Retired {
		return fmt.Errorf("report: %d identities, but %d good and %d retired; %d in doubt, %d rejected, %d waiting, want none",
			c.Cards, c.Good, c.Retired, c.Doubt, c.Reject, c.Waiting)
	}
	// Each remade or retired identity has cost at least one chip; a lost chip's is retired.
	if c.Remade < 0 || c.Remade > c.Good || c.Lost < 0 || c.Lost > c.Retired || c.Destroyed+c.Lost < c.Remade+c.Retired {
		return fmt.Errorf("report: %d of %d good cards are remade, %d identities retired, but %d chips destroyed and %d lost", c.Remade, c.Good, c.Retired, c.Destroyed, c.Lost)
	}
	return nil
}

// ParseReport reads a report and calls row for each remake. The counts must
// balance and the rows must be the counts'. What it takes is what WriteReport
// writes, byte for byte.
func ParseReport(r io.Reader, row func(card, keyset int) error) (Report, error) {
	in := bufio.NewReader(r)
	rep, err := readHead(in)
	if err != nil {
		return rep, err
	}
	last, retired, keysets := -1, 0, map[int]bool{}
	for n := range rep.Rows {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return rep, fmt.Errorf("report:%d: %w", n+2, err)
		}
		var card, keyset int
		text := string(line)
		if _, err := fmt.Sscanf(text, "%d %d\n", &card, &keyset); err != nil || text != fmt.Sprintf("%d %d\n", card, keyset) {
			return rep, fmt.Errorf("report:%d: found %q, want a card and a key set", n+2, strings.TrimSpace(text))
		}
		if card <= last || card >= rep.Counts.Cards || keyset < -1 || keyset >= 0 && keyset < rep.Counts.Cards || keysets[keyset] {
			return rep, fmt.Errorf("report:%d: card %d with key set %d does not fit", n+2, card, keyset)
		}
		if last = card; keyset < 0 {
			retired++
		} else {
			keysets[keyset] = true
		}
		if err := row(card, keyset); err != nil {
			return rep, err
		}
	}
	if retired != rep.Counts.Retired {
		return rep, fmt.Errorf("report: %d retired rows, want %d", retired, rep.Counts.Retired)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return rep, errors.Join(fmt.Errorf("report: more follows after %d rows", rep.Rows), err)
	}
	return rep, nil
}

// readHead reads the first line, in the one form that line writes.
func readHead(in *bufio.Reader) (Report, error) {
	var rep Report
	head, err := in.ReadSlice('\n')
	if err != nil {
		return rep, fmt.Errorf("report: first line: %w", err)
	}
	if err := json.Unmarshal(head, &rep); err != nil {
		return rep, fmt.Errorf("report: %w", err)
	}
	if rep.Format != ReportFormat {
		return rep, fmt.Errorf("report: format is %q, want %q", rep.Format, ReportFormat)
	}
	if again, err := rep.line(); err != nil || !bytes.Equal(again, head) {
		return rep, errors.New("report: the first line is not in its one form")
	}
	if rep.Order == "" {
		return rep, errors.New("report: it names no order")
	}
	if err := rep.Counts.check(); err != nil {
		return rep, err
	}
	if rep.Rows != rep.Counts.Remade+rep.Counts.Retired {
		return rep, fmt.Errorf("report: %d rows, want %d remade and %d retired", rep.Rows, rep.Counts.Remade, rep.Counts.Retired)
	}
	return rep, nil
}
