package site

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"ankan/audit"
)

// A kind of file that sites exchange: the end of its name before ".pgp".
type kind string

const (
	kindOrder       kind = "inp"         // operator to bureau: the trade's own layout
	kindReceipt     kind = "receipt"     // bureau to operator: accepted, or refused with reasons
	kindKeys        kind = "keys"        // operator to bureau: transport keys, wrapped
	kindOffer       kind = "offer"       // bureau to plant: give me a key to seal to
	kindSlot        kind = "slot"        // plant to bureau: here it is
	kindBatch       kind = "batch"       // bureau to plant: sealed blocks
	kindReport      kind = "report"      // plant to bureau: what became of the cards
	kindResponse    kind = "out"         // bureau to operator: the trade's own layout
	kindAck         kind = "ack"         // operator to bureau: received, checked, loaded
	kindDestroy     kind = "destroy"     // bureau to plant: destroy your copy
	kindDestroyed   kind = "destroyed"   // plant to bureau: done, with proof
	kindCertificate kind = "certificate" // bureau to operator
)

// kindOf reads the kind out of a file's name. Orders may come from stock
// tools: .gpg and .asc are taken as well.
func kindOf(name string) (kind, bool) {
	_, k, ok := splitName(name)
	return k, ok
}

// cutKind is a file's name without ".KIND.pgp".
func cutKind(name string) (string, bool) {
	base, _, ok := splitName(name)
	return base, ok
}

// splitName takes BASE.KIND.pgp apart. The name is cut as it stands: in lower
// case it may be longer.
func splitName(name string) (base string, k kind, ok bool) {
	const end = len(".pgp")
	if len(name) < end || !slices.Contains([]string{".pgp", ".gpg", ".asc"}, strings.ToLower(name[len(name)-end:])) {
		return "", "", false
	}
	name = name[:len(name)-end]
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], kind(strings.ToLower(name[i+1:])), i > 0
}

// A receipt answers an order. Where no card of an order could be made it also
// stands for the response, which has at least one row.
type receipt struct {
	Order    string   `json:"order"`
	File     string   `json:"file"`
	Digest   string   `json:"digest"` // of the order's content; empty if it could not be read
	Accepted bool     `json:"accepted"`
	Reasons  []string `json:"reasons,omitempty"`
	Retired  int      `json:"retired,omitempty"` // all cards of the order: there will be no response
}

// sharedKeys are keys that an operator shares with a bureau.
type sharedKeys struct {
	From string      `json:"from"`
	Keys []sharedKey `json:"keys"`
}

type sharedKey struct {
	Index     int    `json:"index"`   // as order files name it
	Purpose   string `json:"purpose"` // transport, or op
	Algorithm string `json:"algorithm"`
	KCV       string `json:"kcv"` // with its method
	Given     []byte `json:"given"`
}

// An offer announces a batch to a plant.
type offer struct {
	Order    string `json:"order"`
	Operator string `json:"operator"`
	Cards    int    `json:"cards"`
	Spares   int    `json:"spares"`
	Profile  string `json:"profile"`
	OS       string `json:"os"` // operating system release that the product asks for
}

// A slot is the plant's answer: a key made for this batch alone. It dies with
// the batch, and with it every copy of the sealed file.
type slot struct {
	Order string `json:"order"`
	Agree string `json:"agree"` // P-521, PEM
}

// A batchHead is the first line of a batch file; the blocks follow.
type batchHead struct {
	Format    string `json:"format"`
	Order     string `json:"order"`
	Cards     int    `json:"cards"`
	Spares    int    `json:"spares"`
	BlockSize int    `json:"block_size"`
	OS        string `json:"os"`
	Profile   string `json:"profile"` // the document itself
	Given     []byte `json:"given"`   // the data key, wrapped for the slot
}

const batchFormat = "ankan/batch/v1"

// An ack says that the response came, was checked and loaded. The destruction
// clock starts with it.
type ack struct {
	Order    string `json:"order"`
	Response string `json:"response"` // SHA-256 of the response's content
	Cards    int    `json:"cards"`
	By       string `json:"by"` // person number and role
}

// A destroyOrder tells a plant to destroy its copy.
type destroyOrder struct {
	Order string `json:"order"`
	Act   string `json:"act"` // digest of the act that the bureau's people signed
}

// A destroyProof is the plant's word that its copy is gone.
type destroyProof struct {
	Order string `json:"order"`
	Site  string `json:"site"`
	destroyed
	Act       string   `json:"act"` // digest of the act that the plant's people signed
	Approvers []string `json:"approvers"`
}

// A certified is the certificate of destruction: signed JSON, and for people a PDF.
type certified struct {
	Order    string `json:"order"`
	Document []byte `json:"document"` // DSSE envelope, byte for byte
	PDF      []byte `json:"pdf"`
}

// maxMessage bounds what is read of a message that is one JSON document, in bytes.
const maxMessage = 8 << 20

// readJSON reads exactly one JSON document without unknown fields.
func readJSON(r io.Reader, v any) error {
	doc, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return err
	}
	if len(doc) > maxMessage {
		return fmt.Errorf("the message has more than %d bytes", maxMessage)
	}
	return audit.Strict(doc, v)
}
