package perso

import (
	"bytes"
	"fmt"
	"slices"

	"ankan/gp"
	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// answerRoom is how much data an answer holds inside SCP03 with R-MAC and
// R-ENCRYPTION, in bytes.
const answerRoom = 239

// statusPages is how many GET STATUS a listing may take: a card answers whole
// entries, in an order of its own. Mostly it is one.
func statusPages(l profile.Listing) int {
	total, longest := 0, 0
	for _, e := range l.Entries {
		n := len(e.Append(nil))
		total, longest = total+n+registryExtra, max(longest, n+registryExtra)
	}
	if total <= answerRoom {
		return 1
	}
	return 1 + total/max(1, answerRoom-longest)
}

// registryExtra is how many bytes a card may say of an entry more than must be: an
// object of privileges that are none.
const registryExtra = 5

// addRegistry adds GET STATUS, in the channel, for all that the profile put in the
// card's registry. A profile without applications costs nothing.
func addRegistry(s *seat, channel *scp.Channel, all []profile.Listing) error {
	for _, l := range all {
		for page := range statusPages(l) {
			cmd := uicc.Command{CLA: 0x80, INS: uicc.INSStatus, P1: byte(l.Scope), P2: 0x02, Data: []byte{0x4F, 0}, Le: 256}
			if page > 0 {
				cmd.P2 = 0x03
			}
			plain := cmd.Append(nil)
			if err := s.burst.Add(uicc.WantAny, func(dst []byte) ([]byte, error) { return channel.Wrap(dst, plain) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// registered judges what addRegistry asked: the card has what the profile says,
// and no more.
func registered(s *seat, channel *scp.Channel, all []profile.Listing) error {
	for _, l := range all {
		var data []byte
		sw := uicc.SWMoreStatus
		for range statusPages(l) {
			r, err := s.next()
			if err != nil {
				return err
			}
			if r, err = channel.Unwrap(r); err != nil {
				return err
			}
			if sw == uicc.SWMoreStatus { // or else it had told everything
				data, sw = append(data, r.Data()...), r.SW()
			}
		}
		if err := compareRegistry(l, data, sw); err != nil {
			return &Reject{ReadBack, err}
		}
	}
	return nil
}

// compareRegistry compares what a card told, up to the last status word, with what
// must be, entry by entry.
func compareRegistry(l profile.Listing, data []byte, sw uicc.SW) error {
	got, err := gp.ParseRegistry(data)
	switch {
	case err != nil:
		return err
	case !sw.OK() && sw != uicc.SWMoreStatus && sw != uicc.SWNotFound: // the last: nothing is there
		return &uicc.StatusError{CLA: 0x80, INS: uicc.INSStatus, P1: byte(l.Scope), P2: 0x02, SW: sw}
	case sw == uicc.SWMoreStatus:
		return fmt.Errorf("GET STATUS %02X has more than the %d entries of the profile", byte(l.Scope), len(l.Entries))
	}
	for _, want := range l.Entries {
		i := slices.IndexFunc(got, func(e gp.Entry) bool { return bytes.Equal(e.AID, want.AID) })
		switch {
		case i < 0:
			return fmt.Errorf("GET STATUS %02X does not list %X", byte(l.Scope), want.AID)
		case !bytes.Equal(got[i].Append(nil), want.Append(nil)):
			return fmt.Errorf("GET STATUS %02X says of %X %X, want %X", byte(l.Scope), want.AID, got[i].Append(nil), want.Append(nil))
		}
		got = slices.Delete(got, i, i+1)
	}
	if len(got) > 0 {
		return fmt.Errorf("GET STATUS %02X lists %X, which the profile has not", byte(l.Scope), got[0].AID)
	}
	return nil
}
