package access
import "testing"
func TestZ(t *testing.T){
 for _,d:=range []string{"","---\n","version: 1\nroles: [a]\n---\nversion: 2\n","version: 1\nversion: 2\n","version: 1\nacts: {x: {request: [a], request: [a]}}\n", "version: 1\nroles: [a]\nacts: {x: {request: [a], to_approve: 1.5, to_use: 1}}","version: 1\nroles: [a]\nacts: {x: {request: a, to_approve: 1, to_use: 1}}","version: 1\nroles: [a]\nacts: {x: {request: [a], to_approve: 1m, to_use: 1}}","version: 1\nroles: [a, 5, true]\nconflicts: [[a]]","version: 1\nroles: [a,b,c]\nconflicts: [[a,b,c]]","version: 1\nroles: &x [a]\nacts: {x: {request: *x, to_approve: 1, to_use: 1}}","version: '1'", "version: 1\nVersion: 2", "version: 1\nroles: [a]\nacts:\n  x: {request: [a], to_approve: 1, to_use: 1}\n  <<: {y: {request: [a], to_approve: 1, to_use: 1}}", "[]","5","version: 1.9"} {
  p,err:=ParsePolicy([]byte(d)); t.Logf("%q\n %+v %v",d,p,err)
 }
}
