// Package fleet holds tests of whole Managers on real stores.
package fleet
