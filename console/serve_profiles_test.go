package console

import (
	"net/http"
	"strings"
	"testing"
)

// The pages of the site's profile and of the program's, as an auditor sees them.
func TestProfilePages(t *testing.T) {
	v := newHouse(t).as("auditor")
	for path, want := range map[string][]string{
		"/profiles":            {"in-5g-usim-isim", "in-5g-usim", "the program", "this site", "Setu Mobile"},
		"/profiles/in-5g-usim": {"this site", "252 bytes"},
		"/profiles/builtin:in-5g-usim-isim": {"ADF.ISIM", "B00011 ADF.USIM", "${IMSI.digits}@ims.mnc099.mcc404.3gppnetwork.org", "EF.UST 73 &#43; 71", "TS 31.103, 4.2.2", "read: PIN1",
			"{full: Setu Mobile, short: Setu}", "4 × 16", "None. It was judged by 28 rules.", "TS 102 221, 9.2.7", "${IMSI}", "always-adm1"},
		"/profiles/builtin:in-5g-usim/builtin:in-5g-usim-isim": {"MF/ADF.ISIM/EF.IMPI", "Added", "DF 5F3A, access dir", "MF/ADF.USIM/EF.UST"},
		"/profiles/builtin:in-5g-usim/builtin:in-5g-usim":      {"No difference"},
	} {
		answer := v.get(path)
		if answer.code != http.StatusOK {
			t.Errorf("%s: %d", path, answer.code)
		}
		for _, w := range want {
			if !strings.Contains(answer.body, w) {
				t.Errorf("%s does not say %q", path, w)
			}
		}
		for _, f := range faults(answer.body) {
			t.Errorf("%s: %s", path, f)
		}
	}
	if got := v.get("/profiles?a=builtin:in-5g-usim&b=x/y"); got.code != http.StatusSeeOther || got.header.Get("Location") != "/profiles/builtin:in-5g-usim/x%2Fy" {
		t.Errorf("two to compare: %d, %s", got.code, got.header.Get("Location"))
	}
	for _, path := range []string{"/profiles/in-5g-usim-isim", "/profiles/builtin:none", "/profiles/builtin:in-5g-usim/none", "/profiles/none/builtin:in-5g-usim", "/profiles/x%2Fy"} {
		if got := v.get(path); got.code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, got.code)
		}
	}
}
