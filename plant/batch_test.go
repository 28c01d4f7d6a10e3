package plant

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"ankan/message"
	"ankan/site"
)

func TestBatchHead(t *testing.T) {
	good := `{"format":"ankan/batch/v1","order":"op-1","cards":2,"spares":1,"block_size":10,"os":"o","profile":"p","given":"AA=="}`
	r := bufio.NewReader(strings.NewReader(good + "\nblocks"))
	head, err := readBatchHead("b", r)
	if err != nil || head.Order != "op-1" || head.Cards != 2 || head.BlockSize != 10 {
		t.Fatal(head, err)
	}
	if rest, err := io.ReadAll(r); string(rest) != "blocks" || err != nil {
		t.Errorf("after the head comes %q, %v", rest, err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"\n", "", "b: its first line: EOF"},
		{`"order"`, `"order_"`, "b: its first line: "},
		{"batch/v1", "batch/v2", `b: format is "ankan/batch/v2", want "ankan/batch/v1"`},
		{`"cards":2`, `"cards":0`, "b: 0 cards and 1 spares in blocks of 10"},
		{`"cards":2`, `"cards":9223372036854775807`, "b: 9223372036854775807 cards"},
		{`"cards":2`, `"cards":1e30`, "b: its first line: "},
		{`"spares":1`, `"spares":-1`, "b: 2 cards and -1 spares"},
		{`"spares":1`, `"spares":9223372036854775807`, "b: 2 cards and 9223372036854775807"},
		{`:10`, `:0`, "b: 2 cards and 1 spares in blocks of 0"},
		{`"AA=="`, `"` + strings.Repeat("A", 8192) + `"`, "b: its first line: bufio: buffer full"},
	} {
		doc := strings.Replace(good+"\n", tt.old, tt.new, 1)
		_, err := readBatchHead("b", bufio.NewReaderSize(strings.NewReader(doc), 4096))
		var r *site.Refusal
		if !errors.As(err, &r) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.new, err, tt.want)
		}
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"format":"ankan/batch/v1","order":"o","cards":2,"spares":1,"block_size":10,"os":"o","profile":"p","given":"AA=="}` + "\nblocks"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(doc), 4096)
		head, err := readBatchHead("b", r)
		if err != nil {
			var refused *site.Refusal
			if !errors.As(err, &refused) {
				t.Errorf("%v is no refusal", err)
			}
			return
		}
		_, want, _ := bytes.Cut(doc, []byte("\n"))
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, want) || head.Format != message.BatchFormat || head.Cards < 1 {
			t.Errorf("%+v, then %q, want %q (%v)", head, rest, want, err)
		}
	})
}
