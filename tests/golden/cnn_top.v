// The whole network 'cnn'. Latency 2 clocks, initiation interval 1.
// rst is synchronous; it clears the valid chain only, the data need no reset.
module cnn (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire [3:0] in_data,
    output wire out_valid,
    output wire [15:0] out_data
);
    wire n0 = in_data[0];
    wire n1 = in_data[1];
    wire n2 = in_data[2];
    wire n3 = in_data[3];
    wire n4;
    cnn_conv_0 conv_1_at_0 (.x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n4));
    wire [1:0] n5;
    cnn_conv_1 conv_1_at_1 (.x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n5));
    wire n6;
    cnn_conv_2 conv_1_at_2 (.x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n6));
    wire [1:0] n7;
    cnn_conv_3 conv_1_at_3 (.x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n7));
    wire [1:0] n8;
    cnn_maxpool_0 maxpool_4_at_0 (.x0(n4), .x1(n5), .x2(n7), .y0(n8));
    reg [1:0] n8_d1;
    always @(posedge clk) begin n8_d1 <= n8; end
    wire n9;
    cnn_maxpool_1 maxpool_4_at_1 (.x0(n6), .y0(n9));
    reg n9_d1;
    always @(posedge clk) begin n9_d1 <= n9; end
    wire [4:0] n10;
    wire [5:0] n11;
    wire [2:0] n12;
    cnn_head_0 head_6_at_0 (.x0(n8_d1), .x1(n9_d1), .y0(n10), .y1(n11), .y2(n12));
    reg [4:0] n10_d1;
    always @(posedge clk) begin n10_d1 <= n10; end
    reg [5:0] n11_d1;
    always @(posedge clk) begin n11_d1 <= n11; end
    reg [2:0] n12_d1;
    always @(posedge clk) begin n12_d1 <= n12; end
    wire n13 = $signed({n10, 1'd0}) >= $signed(n11);
    wire n14 = n13 ? 1'd0 : 1'd1;
    wire [5:0] n16 = n13 ? {n10, 1'd0} : n11;
    wire n17 = $signed(n16) >= $signed({{3{n12[2]}}, n12});
    wire [1:0] n18 = n17 ? {1'd0, n14} : 2'd2;
    reg [1:0] n18_d1;
    always @(posedge clk) begin n18_d1 <= n18; end
    assign out_data[4:0] = n10_d1;
    assign out_data[10:5] = n11_d1;
    assign out_data[13:11] = n12_d1;
    assign out_data[15:14] = n18_d1;
    reg [1:0] valid;
    always @(posedge clk) begin
        if (rst) valid <= 2'd0;
        else valid <= {valid[0:0], in_valid};
    end
    assign out_valid = valid[1];
endmodule
