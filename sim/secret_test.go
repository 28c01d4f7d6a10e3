package sim

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

// What nobody may ever see, in the forms in which a leak would show it.
const planted = "27182818"

func leaks(text string) bool {
	for _, form := range []string{planted, "3237313832383138", "50 55 49 56 50 56 49 56", "0x32, 0x37", "32 37 31 38", "MjcxODI4MTg"} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return true
		}
	}
	return false
}

// plants makes one of each secret type with the planted value.
func plants(t *testing.T) []any {
	t.Helper()
	pin, err := ParsePIN([]byte(planted))
	if err != nil {
		t.Fatal(err)
	}
	puk, err := ParsePUK([]byte(planted))
	if err != nil {
		t.Fatal(err)
	}
	adm, err := ADMFromDigits([]byte(planted))
	if err != nil {
		t.Fatal(err)
	}
	return []any{NewSecret([]byte(planted)), pin, puk, adm}
}

func TestSecretsDoNotPrint(t *testing.T) {
	for _, secret := range plants(t) {
		holders := []any{
			secret, &secret, []any{secret}, map[string]any{"x": secret},
			struct{ Open any }{secret}, struct{ hidden any }{secret},
		}
		for _, h := range holders {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
				if text := fmt.Sprintf(verb, h); leaks(text) {
					t.Errorf("%T under %s printed %s", secret, verb, text)
				}
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "y", h)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "y", h)
			if leaks(log.String()) {
				t.Errorf("%T logged %s", secret, log.String())
			}
		}
		if text := fmt.Sprint(secret); text != marker {
			t.Errorf("%T printed %s, want %s", secret, text, marker)
		}
	}
	// A field of the concrete type that fmt cannot call methods of.
	pin, _ := ParsePIN([]byte(planted))
	type card struct {
		pin PIN
		key Secret
	}
	c := card{pin, NewSecret([]byte(planted))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		if text := fmt.Sprintf(verb, c); leaks(text) {
			t.Errorf("unexported fields under %s printed %s", verb, text)
		}
	}
}

func TestSecretsAreNotEncoded(t *testing.T) {
	for _, secret := range plants(t) {
		if _, err := json.Marshal(secret); !errors.Is(err, ErrSecret) {
			t.Errorf("%T in JSON: %v", secret, err)
		}
		if _, err := xml.Marshal(secret); !errors.Is(err, ErrSecret) {
			t.Errorf("%T in XML: %v", secret, err)
		}
		if err := gob.NewEncoder(new(bytes.Buffer)).Encode(secret); err == nil {
			t.Errorf("%T was encoded by gob", secret)
		}
		if reflect.TypeOf(secret).Comparable() {
			t.Errorf("%T can be compared with ==", secret)
		}
	}
}

func TestSecret(t *testing.T) {
	raw := []byte("abc")
	s, same, other := NewSecret(raw), NewSecret([]byte("abc")), NewSecret([]byte("abd"))
	if !s.Equal(same) || s.Equal(other) || s.Equal(Secret{}) || (Secret{}).Equal(Secret{}) {
		t.Error("Equal is wrong")
	}
	if s.Len() != 3 || string(s.Bytes()) != "abc" || (Secret{}).Bytes() != nil {
		t.Error("Bytes is wrong")
	}
	copied := s
	s.Wipe()
	Secret{}.Wipe()
	if !bytes.Equal(raw, make([]byte, 3)) || copied.Len() != 0 || copied.Equal(s) {
		t.Errorf("after Wipe %q is left", raw)
	}
}

func TestCodes(t *testing.T) {
	pin, err := ParsePIN([]byte("1234"))
	if err != nil || pin.Coded() != [8]byte{'1', '2', '3', '4', 255, 255, 255, 255} || string(pin.AppendDigits(nil)) != "1234" {
		t.Errorf("PIN is coded % X, %v", pin.Coded(), err)
	}
	puk, err := ParsePUK([]byte("12345678"))
	if err != nil || puk.Coded() != [8]byte([]byte("12345678")) || string(puk.AppendDigits(nil)) != "12345678" {
		t.Errorf("PUK is coded % X, %v", puk.Coded(), err)
	}
	digits, err := ADMFromDigits([]byte("12345678"))
	if err != nil || digits.Coded() != puk.Coded() {
		t.Errorf("ADM is coded % X, %v", digits.Coded(), err)
	}
	hexed, err := ADMFromHex([]byte("3132333435363738"))
	if err != nil || !hexed.Equal(digits) {
		t.Errorf("ADM is coded % X, %v", hexed.Coded(), err)
	}
	pin2, _ := ParsePIN([]byte("1235"))
	puk2, _ := ParsePUK([]byte("12345678"))
	if pin.Equal(pin2) || !pin.Equal(pin) || pin.Equal(PIN{}) || (PIN{}).Equal(PIN{}) || !puk.Equal(puk2) {
		t.Error("Equal is wrong")
	}
	copied := pin
	pin.Wipe()
	PIN{}.Wipe()
	if !copied.IsZero() || copied.Equal(pin) || len(copied.AppendDigits(nil)) != 0 || copied.open().b != [8]byte{} {
		t.Error("Wipe left something")
	}
	defer func() {
		if recover() == nil {
			t.Error("the zero PIN has a code")
		}
	}()
	PIN{}.Coded()
}

func TestCodeRefusals(t *testing.T) {
	_, err := ParsePIN([]byte("777"))
	refused(t, err, "PIN has 3 digits, want 4 to 8")
	_, err = ParsePIN([]byte("777777777"))
	refused(t, err, "PIN has 9 digits, want 4 to 8")
	_, err = ParsePIN([]byte("77x7"))
	refused(t, err, "PIN has something else than a digit at character 3")
	_, err = ParsePUK([]byte("7777777"))
	refused(t, err, "PUK has 7 digits, want 8")
	_, err = ADMFromDigits([]byte("777777777"))
	refused(t, err, "ADM has 9 digits, want 4 to 8")
	_, err = ADMFromHex([]byte("777777"))
	refused(t, err, "ADM has 6 hexadecimal digits, want 16")
	_, err = ADMFromHex([]byte("77777777777777x7"))
	refused(t, err, "ADM has something else than hexadecimal digits")
	if strings.Contains(err.Error(), "77") {
		t.Errorf("the error %q shows the code", err)
	}
}
