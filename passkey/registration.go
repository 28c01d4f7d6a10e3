package passkey

// A Registration is what a new passkey answers, as a browser's page or Soft
// gives it (WebAuthn level 3, 5.2.1). Package attest makes a Credential of it.
type Registration struct {
	CredentialID      Bytes    `json:"credential_id"`
	AttestationObject Bytes    `json:"attestation_object"`
	ClientDataJSON    Bytes    `json:"client_data_json"`
	Seal              *Sealing `json:"seal,omitempty"`
}
