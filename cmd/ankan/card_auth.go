package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"ankan/aka"
	"ankan/sim"
	"ankan/uicc"
)

// cardValues is a card's row of a file as card make writes it, and as pySim
// reads it: columns by name in a first line.
type cardValues struct {
	head []string
	row  []string
}

// valuesOf finds the row of the card at hand by its ICCID.
func valuesOf(ctx context.Context, s *uicc.Session, path string) (cardValues, error) {
	iccid, err := readICCID(ctx, s)
	if err != nil {
		return cardValues{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return cardValues{}, err
	}
	defer f.Close()
	return findValues(csv.NewReader(f), path, iccid)
}

func findValues(r *csv.Reader, path string, iccid sim.ICCID) (v cardValues, err error) {
	all, err := r.ReadAll()
	if err != nil || len(all) == 0 {
		return v, fmt.Errorf("%s: not a file of values, want one as ankan card make writes it: %w", path, errors.Join(err))
	}
	v.head = all[0]
	for _, v.row = range all[1:] {
		if v.of("iccid") == iccid.String() {
			return v, nil
		}
	}
	return v, fmt.Errorf("%s has no card with ICCID %s", path, iccid.Masked())
}

// of is the value in a column; "" without one.
func (v cardValues) of(column string) string {
	i := slices.IndexFunc(v.head, func(h string) bool { return strings.EqualFold(h, column) })
	if i < 0 || i >= len(v.row) {
		return ""
	}
	return v.row[i]
}

func (v cardValues) key(column string) ([]byte, error) {
	b, err := hex.DecodeString(v.of(column))
	if err != nil || len(b) != 16 {
		return nil, fmt.Errorf("column %s does not hold a key of 32 hexadecimal digits", column)
	}
	return b, nil
}

// verifyPIN presents PIN1 in the USIM if the card asks for it and has more than
// one try left.
func (v cardValues) verifyPIN(ctx context.Context, s *uicc.Session) error {
	if _, err := s.SelectAID(ctx, usimAID); err != nil {
		return fmt.Errorf("USIM: %w", err)
	}
	n, err := s.Tries(ctx, 0x01)
	if errors.Is(err, uicc.SWDisabled) {
		return nil
	}
	if err != nil || n < 2 {
		return errors.Join(fmt.Errorf("PIN1 has %s left; 2 are wanted before one is used", count(n, "try", "tries")), err)
	}
	pin, err := sim.ParsePIN([]byte(v.of("pin1")))
	if err != nil {
		return fmt.Errorf("column pin1: %w", err)
	}
	defer pin.Wipe()
	if err := s.Verify(ctx, 0x01, pin.Coded()); err != nil && !errors.Is(err, uicc.SWDisabled) {
		return fmt.Errorf("PIN1: %w", err)
	}
	return nil
}

type cardAuthCmd struct {
	cardFlag
	Values string `required:"" placeholder:"FILE" type:"path" help:"Values of the card, as card make wrote them: iccid, ki, opc, and pin1 if the card asks for it." complete:"files"`
	SQN    uint64 `default:"32" help:"Sequence number of the challenge, SEQ || IND. One that the card had is moved on by what the card says."`
	JSON   bool   `help:"Print JSON."`
}

func (c cardAuthCmd) Run(a *app) error {
	sqn, err := aka.ParseSQN(c.SQN)
	if err != nil {
		return err
	}
	return c.with(a.ctx, func(card openCard, _ uicc.ATR) error {
		s := uicc.NewSession(card)
		v, err := valuesOf(a.ctx, s, c.Values)
		if err != nil {
			return err
		}
		k, err := v.key("ki")
		if err != nil {
			return err
		}
		opc, err := v.key("opc")
		if err != nil {
			return err
		}
		alg, err := aka.New(k, opc)
		clear(k)
		clear(opc)
		if err != nil {
			return err
		}
		if err := v.verifyPIN(a.ctx, s); err != nil {
			return err
		}
		used, moved, err := challenge(a.ctx, s, &alg, sqn)
		if err != nil {
			return err
		}
		result := map[string]any{"iccid": v.of("iccid"), "sqn": uint64(used), "resynchronised": moved, "authenticated": true}
		return a.print(c.JSON, result, func() {
			if moved {
				a.printf("the card had sequence number %d already; resynchronised\n", uint64(sqn))
			}
			a.printf("authenticated with sequence number %d: RES, CK and IK are right\n", uint64(used))
		})
	})
}

// challenge has the USIM answer a challenge, with a later sequence number if it
// had this one. It returns the number that it took.
func challenge(ctx context.Context, s *uicc.Session, alg *aka.Milenage, sqn aka.SQN) (used aka.SQN, moved bool, err error) {
	for {
		var nonce aka.RAND
		rand.Read(nonce[:])
		v := alg.Vector(nonce, sqn, aka.EPS())
		answer, err := s.Authenticate(ctx, v.RAND, v.AUTN)
		if errors.Is(err, uicc.SWWrongMAC) {
			return sqn, moved, fmt.Errorf("K or OPc of the file are not the card's: %w", err)
		}
		if err != nil {
			return sqn, moved, err
		}
		defer clear(answer)
		if len(answer) == 16 && answer[0] == 0xDC && answer[1] == 14 && !moved {
			highest, err := alg.Resync(v.RAND, aka.AUTS(answer[2:]))
			if err != nil {
				return sqn, moved, fmt.Errorf("the card's AUTS: %w", err)
			}
			if sqn, err = highest.Next(); err != nil {
				return sqn, moved, err
			}
			moved = true
			continue
		}
		want := v.AppendAnswer(nil)
		defer clear(want)
		if len(answer) < len(want) || subtle.ConstantTimeCompare(answer[:len(want)], want) != 1 {
			return sqn, moved, errors.New("the card's RES, CK or IK are not those of K and OPc in the file")
		}
		return sqn, moved, nil
	}
}
