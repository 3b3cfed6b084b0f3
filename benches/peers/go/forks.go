package main

import "sync"

// Fork and join.

func fib(j job) *report {
	var fib func(n int) uint64
	fib = func(n int) uint64 {
		if n < 2 {
			return uint64(n)
		}
		var a uint64
		var ended sync.WaitGroup
		ended.Go(func() { a = fib(n - 1) })
		b := fib(n - 2)
		ended.Wait()
		return a + b
	}
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			for range n {
				sum += fib(j.size)
			}
			return sum
		})
	})
}

// children is how many a node of the skynet has.
const children = 10

// node sends the sum of so many leaves, counted from the first on.
func node(parent chan<- uint64, first, leaves uint64) {
	if leaves == 1 {
		parent <- first
		return
	}
	parts := make(chan uint64)
	share := leaves / children
	for child := range uint64(children) {
		go node(parts, first+child*share, share)
	}
	var sum uint64
	for range children {
		sum += <-parts
	}
	parent <- sum
}

func skynet(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			result := make(chan uint64)
			for range n {
				go node(result, 0, uint64(j.size))
				sum += <-result
			}
			return sum
		})
	})
}
