//go:build cgo

package pkcs11

import (
	"errors"
	"fmt"
	"os"

	ck "github.com/miekg/pkcs11"
)

// load loads a library into the process. It is never unloaded: libraries have
// threads and exit handlers of their own.
func load(path string) (cryptoki, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("PKCS #11 library: %w; install the vendor's software, or give the library's path", err)
	}
	ctx := ck.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("PKCS #11 library %s does not load; want a shared library with C_GetFunctionList for this machine", path)
	}
	return library{ctx}, nil
}

// library is cryptoki by the binding of package pkcs11. Where the binding
// panics on an empty slice, it refuses as a library would.
type library struct{ ctx *ck.Ctx }

func answer(err error) error {
	var e ck.Error
	if errors.As(err, &e) {
		return ckr(e)
	}
	return err
}

func attributes(list []attribute) []*ck.Attribute {
	all := make([]*ck.Attribute, len(list))
	for i, a := range list {
		all[i] = &ck.Attribute{Type: a.kind, Value: a.value}
	}
	return all
}

func parameters(m mechanism) []*ck.Mechanism {
	var p any
	switch {
	case m.point != nil:
		p = ck.NewECDH1DeriveParams(ck.CKD_NULL, nil, m.point)
	case m.oaep != nil:
		p = ck.NewOAEPParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, ck.CKZ_DATA_SPECIFIED, m.oaep.label)
	}
	return []*ck.Mechanism{ck.NewMechanism(m.number, p)}
}

func (l library) Initialize() error { return answer(l.ctx.Initialize()) }
func (l library) Finalize() error   { return answer(l.ctx.Finalize()) }

func (l library) GetSlotList() ([]uint, error) {
	slots, err := l.ctx.GetSlotList(true)
	return slots, answer(err)
}

func (l library) GetTokenInfo(slot uint) (tokenInfo, error) {
	t, err := l.ctx.GetTokenInfo(slot)
	return tokenInfo{
		label: t.Label, model: t.Model, serial: t.SerialNumber, flags: t.Flags, sessions: t.MaxRwSessionCount,
		firmware: fmt.Sprintf("%d.%d", t.FirmwareVersion.Major, t.FirmwareVersion.Minor),
	}, answer(err)
}

func (l library) GetMechanismInfo(slot, m uint) (uint, error) {
	i, err := l.ctx.GetMechanismInfo(slot, []*ck.Mechanism{{Mechanism: m}})
	return i.Flags, answer(err)
}

func (l library) OpenSession(slot uint) (sessionHandle, error) {
	s, err := l.ctx.OpenSession(slot, ck.CKF_SERIAL_SESSION|ck.CKF_RW_SESSION)
	return sessionHandle(s), answer(err)
}

func (l library) CloseSession(s sessionHandle) error {
	return answer(l.ctx.CloseSession(ck.SessionHandle(s)))
}

func (l library) GetSessionInfo(s sessionHandle) (uint, error) {
	i, err := l.ctx.GetSessionInfo(ck.SessionHandle(s))
	return i.State, answer(err)
}

func (l library) Login(s sessionHandle, pin []byte) error {
	return answer(l.ctx.Login(ck.SessionHandle(s), ck.CKU_USER, string(pin)))
}

func (l library) GenerateRandom(s sessionHandle, n int) ([]byte, error) {
	b, err := l.ctx.GenerateRandom(ck.SessionHandle(s), n)
	return b, answer(err)
}

func (l library) CreateObject(s sessionHandle, template []attribute) (objectHandle, error) {
	o, err := l.ctx.CreateObject(ck.SessionHandle(s), attributes(template))
	return objectHandle(o), answer(err)
}

func (l library) CopyObject(s sessionHandle, o objectHandle, template []attribute) (objectHandle, error) {
	c, err := l.ctx.CopyObject(ck.SessionHandle(s), ck.ObjectHandle(o), attributes(template))
	return objectHandle(c), answer(err)
}

func (l library) DestroyObject(s sessionHandle, o objectHandle) error {
	return answer(l.ctx.DestroyObject(ck.SessionHandle(s), ck.ObjectHandle(o)))
}

func (l library) GetAttributeValue(s sessionHandle, o objectHandle, types ...uint) ([][]byte, error) {
	template := make([]*ck.Attribute, len(types))
	for i, t := range types {
		template[i] = &ck.Attribute{Type: t}
	}
	got, err := l.ctx.GetAttributeValue(ck.SessionHandle(s), ck.ObjectHandle(o), template)
	if err != nil {
		return nil, answer(err)
	}
	values := make([][]byte, len(got))
	for i, a := range got {
		values[i] = a.Value
	}
	return values, nil
}

func (l library) FindObjectsInit(s sessionHandle, template []attribute) error {
	return answer(l.ctx.FindObjectsInit(ck.SessionHandle(s), attributes(template)))
}

func (l library) FindObjects(s sessionHandle, limit int) ([]objectHandle, error) {
	found, _, err := l.ctx.FindObjects(ck.SessionHandle(s), limit)
	all := make([]objectHandle, len(found))
	for i, o := range found {
		all[i] = objectHandle(o)
	}
	return all, answer(err)
}

func (l library) FindObjectsFinal(s sessionHandle) error {
	return answer(l.ctx.FindObjectsFinal(ck.SessionHandle(s)))
}

func (l library) EncryptInit(s sessionHandle, m mechanism, key objectHandle) error {
	return answer(l.ctx.EncryptInit(ck.SessionHandle(s), parameters(m), ck.ObjectHandle(key)))
}

func (l library) Encrypt(s sessionHandle, data []byte) ([]byte, error) {
	b, err := l.ctx.Encrypt(ck.SessionHandle(s), data)
	return b, answer(err)
}

func (l library) DecryptInit(s sessionHandle, m mechanism, key objectHandle) error {
	return answer(l.ctx.DecryptInit(ck.SessionHandle(s), parameters(m), ck.ObjectHandle(key)))
}

func (l library) Decrypt(s sessionHandle, data []byte) ([]byte, error) {
	b, err := l.ctx.Decrypt(ck.SessionHandle(s), data)
	return b, answer(err)
}

func (l library) SignInit(s sessionHandle, m mechanism, key objectHandle) error {
	return answer(l.ctx.SignInit(ck.SessionHandle(s), parameters(m), ck.ObjectHandle(key)))
}

func (l library) Sign(s sessionHandle, data []byte) ([]byte, error) {
	b, err := l.ctx.Sign(ck.SessionHandle(s), data)
	return b, answer(err)
}

func (l library) GenerateKey(s sessionHandle, m mechanism, template []attribute) (objectHandle, error) {
	o, err := l.ctx.GenerateKey(ck.SessionHandle(s), parameters(m), attributes(template))
	return objectHandle(o), answer(err)
}

func (l library) GenerateKeyPair(s sessionHandle, m mechanism, public, private []attribute) (objectHandle, objectHandle, error) {
	pub, priv, err := l.ctx.GenerateKeyPair(ck.SessionHandle(s), parameters(m), attributes(public), attributes(private))
	return objectHandle(pub), objectHandle(priv), answer(err)
}

func (l library) WrapKey(s sessionHandle, m mechanism, with, key objectHandle) ([]byte, error) {
	b, err := l.ctx.WrapKey(ck.SessionHandle(s), parameters(m), ck.ObjectHandle(with), ck.ObjectHandle(key))
	return b, answer(err)
}

func (l library) UnwrapKey(s sessionHandle, m mechanism, with objectHandle, wrapped []byte, template []attribute) (objectHandle, error) {
	if len(wrapped) == 0 {
		return 0, ckr(ck.CKR_WRAPPED_KEY_LEN_RANGE)
	}
	o, err := l.ctx.UnwrapKey(ck.SessionHandle(s), parameters(m), ck.ObjectHandle(with), wrapped, attributes(template))
	return objectHandle(o), answer(err)
}

func (l library) DeriveKey(s sessionHandle, m mechanism, base objectHandle, template []attribute) (objectHandle, error) {
	if len(m.point) == 0 {
		return 0, ckr(ck.CKR_MECHANISM_PARAM_INVALID)
	}
	o, err := l.ctx.DeriveKey(ck.SessionHandle(s), parameters(m), ck.ObjectHandle(base), attributes(template))
	return objectHandle(o), answer(err)
}
