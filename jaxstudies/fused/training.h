// Some epochs of one network, or of a vector of them: what is written out for each training takes the place of the lines
// that are named.
EACH void train_lanes(size_t lane, size_t S, int epochs, int orders, int steps, int batch, ARRAYS) {
// start
  const size_t last = (size_t)orders * steps * batch - 1;
  for (int epoch = 0; epoch < epochs; epoch++) {
    v sum = V(0);
    for (int s = 0; s < steps; s++) {
// zero
      v step_loss = V(0);
      const size_t place = ((size_t)(epoch % orders) * steps + s) * batch;
      NO_UNROLL
      for (int k = 0; k < batch; k += AT_ONCE) {
// example
      }
      sum += step_loss;
// update
    }
    store(LOSSES + epoch * S, sum / (float)steps);
  }
// end
}
