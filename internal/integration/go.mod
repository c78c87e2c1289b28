module github.com/berthage/berthage/internal/integration

go 1.26.0

replace github.com/berthage/berthage => ../..
