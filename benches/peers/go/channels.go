package main

import (
	"log"
	"sync"
)

// Goroutines that talk over channels.

func pingPong(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			ping, pong := make(chan uint64), make(chan uint64)
			defer close(ping)
			go func() {
				for i := range ping {
					pong <- i
				}
			}()
			for i := range n {
				ping <- i
				sum += <-pong
			}
			return sum
		})
	})
}

func ring(j job) *report {
	return j.repeat(func(laps uint64) timed {
		first := make(chan uint64)
		defer close(first)
		last := first
		for range j.size - 1 {
			inlet, outlet := last, make(chan uint64)
			last = outlet
			go func() {
				for token := range inlet {
					outlet <- token + 1
				}
				close(outlet)
			}()
		}
		return timing(func() (token uint64) {
			for range laps {
				first <- token + 1
				token = <-last
			}
			return token
		})
	})
}

func spsc(j job) *report { return crowd(j, 1) }
func mpmc(j job) *report { return crowd(j, 4) }

// crowd is so many producers and as many consumers.
func crowd(j job, each uint64) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			values := make(chan uint64, j.size)
			var produced, consumed sync.WaitGroup
			for id := range each {
				produced.Go(func() {
					for i := id; i < n; i += each {
						values <- i
					}
				})
			}
			sums := make([]uint64, each)
			for id := range each {
				consumed.Go(func() {
					var sum uint64
					for value := range values {
						sum += value
					}
					sums[id] = sum
				})
			}
			produced.Wait()
			close(values)
			consumed.Wait()
			for _, part := range sums {
				sum += part
			}
			return sum
		})
	})
}

// pipeline is a producer and a consumer that compute.
func pipeline(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			values := make(chan uint64, j.size)
			go func() {
				for i := range n {
					compute(stage)
					values <- i
				}
				close(values)
			}()
			consumed := make(chan uint64)
			go func() {
				var sum uint64
				for value := range values {
					compute(stage)
					sum += value
				}
				consumed <- sum
			}()
			return <-consumed
		})
	})
}

func selects(j job) *report {
	if j.size != 4 {
		log.Fatal("the select is written for four channels")
	}
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			var c [4]chan uint64
			for i := range c {
				c[i] = make(chan uint64)
			}
			go func() {
				for i := range n {
					c[i%4] <- i
				}
			}()
			for range n {
				var value uint64
				select {
				case value = <-c[0]:
				case value = <-c[1]:
				case value = <-c[2]:
				case value = <-c[3]:
				}
				sum += value
			}
			return sum
		})
	})
}

func sieve(j job) *report {
	// The sum of the first so many primes. The filters are left waiting, as in every such program: a goroutine
	// cannot see that its channel's receivers are gone.
	primes := func(count int) (sum uint64) {
		numbers := make(chan uint64)
		go func(numbers chan<- uint64) {
			for n := uint64(2); ; n++ {
				numbers <- n
			}
		}(numbers)
		for range count {
			prime := <-numbers
			sum += prime
			unfiltered, filtered := numbers, make(chan uint64)
			numbers = filtered
			go func() {
				for n := range unfiltered {
					if n%prime != 0 {
						filtered <- n
					}
				}
			}()
		}
		return sum
	}
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			for range n {
				sum += primes(j.size)
			}
			return sum
		})
	})
}
