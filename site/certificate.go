package site

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/order"
)

// A destroyed is what a site did to its copy of an order, and where its log
// says so.
type destroyed struct {
	Keys     []order.DestroyedKey `json:"keys"`
	Blocks   int                  `json:"blocks"` // sealed blocks that were wiped
	At       time.Time            `json:"at"`
	LogIndex int64                `json:"log_index"`
}

// describeKey is a key as a certificate names it, before it is destroyed.
func (s *Site) describeKey(ctx context.Context, id string) (order.DestroyedKey, error) {
	k, err := s.token.Key(ctx, id)
	if err != nil {
		return order.DestroyedKey{}, err
	}
	info := s.token.Info()
	d := order.DestroyedKey{ID: id, Purpose: string(k.Purpose) + ", " + string(k.Algorithm), Where: s.config.Site + ", " + info.Certificate}
	if !k.KCV.IsZero() {
		d.Check = k.KCV.String()
		return d, nil
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		return d, err
	}
	sum := sha256.Sum256(der)
	d.Check = fmt.Sprintf("%X SPKI", sum[:4]) // the start of its public key's SHA-256
	return d, nil
}

// forget destroys keys; the ones that are gone were destroyed by a try before.
func (s *Site) forget(ctx context.Context, keys []order.DestroyedKey) error {
	for _, k := range keys {
		if err := s.forgetKey(ctx, k.ID); err != nil {
			return err
		}
	}
	return nil
}

// certificate says what was destroyed, by whom, and who saw it. Its log
// reference is covered by a checkpoint of now.
func (s *Site) certificate(ctx context.Context, o order.Order) (*order.Certificate, error) {
	var here destroyed
	var plant destroyProof
	var received ack
	var id string
	for kind, v := range map[string]any{"destroyed": &here, "plant-proof": &plant, "ack": &received, "destroy-act": &id} {
		if err := s.paper(ctx, o.ID, kind, v); err != nil {
			return nil, err
		}
	}
	contract, err := s.contract(o.Partner)
	if err != nil {
		return nil, err
	}
	st, err := s.desk.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	acknowledged, err := s.reached(ctx, o.ID, order.Received)
	if err != nil {
		return nil, err
	}
	files := 1 // the batch
	if o.Good > 0 {
		files++ // the response
	}
	c := &order.Certificate{
		Number: "CoD-" + o.ID, Issued: here.At,
		Order:        order.OrderRef{ID: o.ID, Batch: o.Batch, Digest: o.Digest},
		Operator:     order.CertifiedParty{Partner: o.Partner, Name: contract.Customer},
		Manufacturer: order.CertifiedParty{Partner: s.config.Site, Name: contract.Maker.Name, Place: contract.Maker.Personalisation},
		Cards:        order.CardCounts{Ordered: o.Quantity, Delivered: o.Good, Retired: o.Retired},
		Clock:        order.DestroyClock{Acknowledged: acknowledged, Limit: acknowledged.Add(contract.DestructionLimit), Destroyed: here.At},
		Keys:         append(here.Keys, plant.Keys...),
		Copies: []order.Copy{
			{Where: s.config.Site + ", database", What: "sealed blocks of key sets", Count: here.Blocks, How: "key erased, rows overwritten", At: here.At},
			{Where: s.config.Site + ", database", What: "order text", Count: 1, How: "key erased, rows overwritten", At: here.At},
			{Where: s.config.Site + ", spool", What: "files to partners", Count: files, How: "withdrawn and deleted", At: here.At},
			{Where: plant.Site + ", database", What: "sealed blocks of key sets", Count: plant.Blocks, How: "key erased, rows overwritten", At: plant.At},
		},
		Act: st.Digest,
		Log: order.LogRef{Index: here.LogIndex, Checkpoint: string(s.store.Checkpoint())},
	}
	for _, sig := range st.Signatures {
		who, err := s.people.Person(ctx, sig.Person)
		if err != nil {
			return nil, err
		}
		p := order.Signatory{Role: who.Roles[0], Person: who.ID, At: sig.At}
		switch {
		case sig.Verb != act.Approve:
		case who.Has("witness"):
			c.Witness = p
		default:
			c.Approvers = append(c.Approvers, p)
		}
	}
	return c, c.Check()
}

// reached is when an order came into a state.
func (s *Site) reached(ctx context.Context, ord string, state order.State) (time.Time, error) {
	steps, err := order.Steps(ctx, s.store, ord)
	if err != nil {
		return time.Time{}, err
	}
	for _, st := range steps {
		if st.State == state {
			return st.At, nil
		}
	}
	return time.Time{}, fmt.Errorf("order %s: %w: it never was %s", ord, order.ErrState, state)
}

// sign makes the signed form of a certificate.
func (s *Site) sign(ctx context.Context, c *order.Certificate) ([]byte, error) {
	payload, err := c.Payload()
	if err != nil {
		return nil, err
	}
	signer, err := s.token.Signer(ctx, keySite)
	if err != nil {
		return nil, err
	}
	return audit.SignDocument(order.CertificateType, payload, s.config.origin(), signer)
}

// readCertificate verifies a certificate with its site's key and reads it.
func readCertificate(doc []byte, pub ed25519.PublicKey) (*order.Certificate, error) {
	d, err := audit.OpenDocument(doc, order.CertificateType, pub)
	if err != nil {
		return nil, err
	}
	return order.ParseCertificate(d.Payload)
}

// ownCertificate reads a certificate that this site signed.
func (s *Site) ownCertificate(ctx context.Context, doc []byte) (*order.Certificate, error) {
	k, err := s.token.Key(ctx, keySite)
	if err != nil {
		return nil, err
	}
	pub, ok := k.Public.(ed25519.PublicKey)
	if !ok {
		return nil, hsm.ErrPurpose
	}
	return readCertificate(doc, pub)
}
