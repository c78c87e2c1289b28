// Package readme runs the first command of the README as a reader would who has Go and make and nothing else.
package readme
