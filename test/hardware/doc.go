// Package hardware tests a whole site whose keys are in an HSM, through PKCS
// #11. SoftHSM stands for the HSM; pkcs11-tool of OpenSC looks at it from
// outside. Without C it tests that such a site says what to build.
package hardware
