// Package quota says whether a project may take more.
package quota
