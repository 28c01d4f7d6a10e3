// Package scripts runs the programs as people run them: each .txtar file is a
// session on the command line, which also says what must not be left behind.
package scripts
