// Package message is what sites write to one another: the kinds of files and
// their names, and the messages that are JSON. It has no IO of its own, and
// nothing here is checked but the form.
package message

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/audit"
	"ankan/keys"
	"ankan/order"
	"ankan/stock"
)

// A Kind of file that sites exchange: the end of its name before ".pgp".
type Kind string

// The kinds of files, and who sends them to whom.
const (
	KindOrder       Kind = "inp"         // operator to bureau: the trade's own layout
	KindReceipt     Kind = "receipt"     // bureau to operator: accepted, or refused with reasons
	KindKeys        Kind = "keys"        // operator to bureau: transport keys, wrapped
	KindOffer       Kind = "offer"       // bureau to plant: give me a key to seal to
	KindSlot        Kind = "slot"        // plant to bureau: here it is
	KindBatch       Kind = "batch"       // bureau to plant: sealed blocks
	KindReport      Kind = "report"      // plant to bureau: what became of the cards
	KindResponse    Kind = "out"         // bureau to operator: the trade's own layout
	KindAck         Kind = "ack"         // operator to bureau: received, checked, loaded
	KindDestroy     Kind = "destroy"     // bureau to plant: destroy your copy
	KindDestroyed   Kind = "destroyed"   // plant to bureau: done, with proof
	KindCertificate Kind = "certificate" // bureau to operator
	KindAbandon     Kind = "abandon"     // operator or plant to bureau: it does not go on here
	KindAlarm       Kind = "alarm"       // to whoever shares a key: it is compromised
	KindAlarmAck    Kind = "alarm-ack"   // the answer
	KindForm        Kind = "form"        // to whom a component travels: first part of its form
	KindFormAnswer  Kind = "form-answer" // the second part, signed by the recipient

	KindShipment       Kind = "shipment"        // plant to operator, by the bureau: first part of a shipment's form
	KindShipmentAnswer Kind = "shipment-answer" // back: what was found, signed by the operator's people
)

// KindOf reads the kind out of a file's name. Orders may come from stock
// tools: .gpg and .asc are taken as well.
func KindOf(name string) (k Kind, ok bool) {
	_, k, ok = splitName(name)
	return k, ok
}

// Base is a file's name without ".KIND.pgp".
func Base(name string) (base string, ok bool) {
	base, _, ok = splitName(name)
	return base, ok
}

// splitName takes BASE.KIND.pgp apart. The name is cut as it stands: in lower
// case it may be longer.
func splitName(name string) (base string, k Kind, ok bool) {
	const end = len(".pgp")
	if len(name) < end || !slices.Contains([]string{".pgp", ".gpg", ".asc"}, strings.ToLower(name[len(name)-end:])) {
		return "", "", false
	}
	name = name[:len(name)-end]
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], Kind(strings.ToLower(name[i+1:])), i > 0
}

// A Receipt answers an order. Where no card of an order could be made it also
// stands for the response, which has at least one row.
type Receipt struct {
	Order    string   `json:"order"`
	File     string   `json:"file"`
	Digest   string   `json:"digest"` // of the order's content; empty if it could not be read
	Accepted bool     `json:"accepted"`
	Reasons  []string `json:"reasons,omitempty"`
	Retired  int      `json:"retired,omitempty"` // all cards of the order: there will be no response

	// Abandoned says that the bureau gave up an order that it had accepted: there
	// will be no response, and its identities are never issued again.
	Abandoned bool `json:"abandoned,omitempty"`
}

// An Abandon tells a bureau that an order does not go on at the site that writes:
// its operator withdrew it, or its plant lost what it knew of it.
type Abandon struct {
	Order string `json:"order"`
	Why   string `json:"why"`
	Act   string `json:"act"` // SHA-256 of the act that was signed; a plant's names the one that unlocked it
}

// SharedKeys are keys that an operator shares with a bureau.
type SharedKeys struct {
	From string      `json:"from"`
	Keys []SharedKey `json:"keys"`
}

// A SharedKey is one of them, wrapped for the bureau.
type SharedKey struct {
	Index     int    `json:"index"`   // as order files name it
	Purpose   string `json:"purpose"` // transport, or op
	Algorithm string `json:"algorithm"`
	KCV       string `json:"kcv"` // with its method
	Given     []byte `json:"given"`
}

// Label binds the wrapped key to its sender, receiver, purpose and index.
func (k SharedKey) Label(from, to string) string {
	return fmt.Sprintf("ankan/%s/%d from %s to %s", k.Purpose, k.Index, from, to)
}

// TransportKey names, in the modules of both sites, the transport key that an
// operator shared under an index.
func TransportKey(operator string, index int) string {
	return "transport/" + operator + "/" + strconv.Itoa(index)
}

// OPKey names the OP that an operator shared with it.
func OPKey(operator string, index int) string { return "op/" + operator + "/" + strconv.Itoa(index) }

// An Offer announces a batch to a plant.
type Offer struct {
	Order    string `json:"order"`
	Operator string `json:"operator"`
	Cards    int    `json:"cards"`
	Spares   int    `json:"spares"`
	Profile  string `json:"profile"`
	OS       string `json:"os"` // operating system release that the product asks for
}

// A Slot is the plant's answer: a key made for this batch alone. It dies with
// the batch, and with it every copy of the sealed file.
type Slot struct {
	Order string `json:"order"`
	Agree string `json:"agree"` // P-521, PEM
}

// A BatchHead is the first line of a batch file; the blocks follow.
type BatchHead struct {
	Format    string `json:"format"`
	Order     string `json:"order"`
	Cards     int    `json:"cards"`
	Spares    int    `json:"spares"`
	BlockSize int    `json:"block_size"`
	OS        string `json:"os"`
	Profile   string `json:"profile"` // the document itself
	Given     []byte `json:"given"`   // the data key, wrapped for the slot
}

// BatchFormat is what a batch file says that it is.
const BatchFormat = "ankan/batch/v1"

// BatchLabel binds an order's wrapped data key to its order.
func BatchLabel(ord string) string { return "ankan/batch/v1 " + ord }

// ResponseName names file n of the m files of an order's response, from 1:
// ORDER.out.pgp if there is one, else ORDER.N-of-M.out.pgp.
func ResponseName(ord string, n, m int) string {
	if m == 1 {
		return ord + ".out.pgp"
	}
	return fmt.Sprintf("%s.%d-of-%d.out.pgp", ord, n, m)
}

// MaxResponseFiles bounds the files of one response.
const MaxResponseFiles = 10_000

// ParseResponseName takes the name of a response file apart. What is not
// ResponseName's form of a file among several is the name of an order.
func ParseResponseName(name string) (ord string, n, m int, ok bool) {
	base, ok := Base(name)
	if !ok {
		return "", 0, 0, false
	}
	if i := strings.LastIndexByte(base, '.'); i > 0 {
		place := base[i+1:]
		if _, err := fmt.Sscanf(place, "%d-of-%d", &n, &m); err == nil && place == fmt.Sprintf("%d-of-%d", n, m) {
			return base[:i], n, m, 1 <= n && n <= m && 2 <= m && m <= MaxResponseFiles
		}
	}
	return base, 1, 1, true
}

// A ResponseFile is one file of a response.
type ResponseFile struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"` // of its content
	Cards  int    `json:"cards"`  // rows
}

// An Ack says that the response came, was checked and loaded. The destruction
// clock starts with it.
type Ack struct {
	Order    string         `json:"order"`
	Response []ResponseFile `json:"response"` // in the order of their names' numbers; none if every card is retired
	Cards    int            `json:"cards"`
	By       string         `json:"by"` // person number and role
}

// A DestroyOrder tells a plant to destroy its copy.
type DestroyOrder struct {
	Order string `json:"order"`
	Act   string `json:"act"` // digest of the act that the bureau's people signed

	// Abandoned is why the bureau gave the order up: the line makes no more cards
	// of it, and those that it made are destroyed.
	Abandoned string `json:"abandoned,omitempty"`
}

// A Destroyed is what a site did to its copy of an order, and where its log
// says so.
type Destroyed struct {
	Keys     []order.DestroyedKey `json:"keys"`
	Blocks   int                  `json:"blocks"` // sealed blocks that were wiped
	At       time.Time            `json:"at"`
	LogIndex int64                `json:"log_index"`
}

// A DestroyProof is the plant's word that its copy is gone.
type DestroyProof struct {
	Order string `json:"order"`
	Site  string `json:"site"`
	Destroyed
	Act       string   `json:"act"` // digest of the act that the plant's people signed
	Approvers []string `json:"approvers"`

	Out int `json:"out,omitempty"` // cards of an abandoned order that had left the plant
}

// A Certified is the certificate of destruction: signed JSON, and for people a PDF.
type Certified struct {
	Order    string `json:"order"`
	Document []byte `json:"document"` // DSSE envelope, byte for byte
	PDF      []byte `json:"pdf"`
}

// maxMessage bounds what is read of a message that is one JSON document, in bytes.
const maxMessage = 8 << 20

// JSON writes a message as JSON.
func JSON(v any) func(io.Writer) error {
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(v) }
}

// Read reads exactly one JSON document without unknown fields.
func Read(r io.Reader, v any) error {
	doc, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return err
	}
	if len(doc) > maxMessage {
		return fmt.Errorf("the message has more than %d bytes", maxMessage)
	}
	return audit.Strict(doc, v)
}

// An Alarm says that a key which two sites share is compromised.
type Alarm struct {
	Key string    `json:"key"` // its name in both modules
	KCV string    `json:"kcv"`
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

// An AlarmAck says that people at the other site know.
type AlarmAck struct {
	Key string    `json:"key"`
	By  string    `json:"by"` // person
	At  time.Time `json:"at"`
}

// A Form is the first part of a key transfer form: a component is under way,
// and bag and seal have these numbers (SOP 6.4.e.iii.c).
type Form struct {
	Form keys.Sheet `json:"form"`
}

// A FormAnswer is the second part: what the recipient of the bag signed.
type FormAnswer struct {
	Site   string          `json:"site"` // that issued the form
	Number string          `json:"number"`
	Answer keys.FormAnswer `json:"answer"`
}

// A Shipment is the first part of a shipment's form: boxes are under way, with
// these seals and so many cards (SOP 5.iv).
type Shipment struct {
	Advice stock.Advice `json:"shipment"`
}

// A ShipmentAnswer is the second part: what the operator's people signed who
// received it.
type ShipmentAnswer struct {
	Site   string          `json:"site"` // plant
	Number string          `json:"number"`
	Answer keys.FormAnswer `json:"answer"`
}
