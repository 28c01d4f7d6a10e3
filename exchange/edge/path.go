package edge

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/pkg/sftp"
)

// The folders that a partner sees.
const (
	inbox  = "inbox"
	outbox = "outbox"
)

// partial ends the name of a file on its way; a rename without it hands the
// file in.
const partial = ".part"

var (
	fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	peerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
)

// validName is for the names of whole files.
func validName(name string) error {
	if !fileName.MatchString(name) || strings.HasSuffix(name, partial) {
		return fmt.Errorf("file name %.140q, want 1 to 128 of A-Z, a-z, 0-9, dot, hyphen and underscore, first a letter or digit, not ending in %s", name, partial)
	}
	return nil
}

func validPeer(name string) error {
	if !peerName.MatchString(name) {
		return fmt.Errorf("partner name %.40q, want 1 to 32 of a-z, 0-9 and inner hyphens", name)
	}
	return nil
}

// canonical is the only way from a client's path to a place in the spool. It
// returns the folder ("" for the root) and the name in it ("" for the folder
// itself), and refuses every path that has a second spelling.
func canonical(p string) (folder, name string, err error) {
	denied := fmt.Errorf("path %.200q, want /%s/name or /%s/name: %w", p, inbox, outbox, sftp.ErrSSHFxPermissionDenied)
	if p == "/" {
		return "", "", nil
	}
	if p == "" || p[0] != '/' || path.Clean(p) != p {
		return "", "", denied
	}
	folder, name, inside := strings.Cut(p[1:], "/")
	if folder != inbox && folder != outbox {
		return "", "", denied
	}
	if !inside {
		return folder, "", nil
	}
	whole := name
	if folder == inbox {
		whole = strings.TrimSuffix(name, partial)
	}
	if err := validName(whole); err != nil {
		return "", "", fmt.Errorf("%w: %w", err, sftp.ErrSSHFxPermissionDenied)
	}
	return folder, name, nil
}
